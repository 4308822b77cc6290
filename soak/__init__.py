"""Long runs that try to break the books: killed processes, crowds on a small budget, hours of steady traffic.

Everything is real but the upstreams: the gateway is a process of its own, and the sandbox keeps a bill that the
ledger is held against afterwards.
"""
