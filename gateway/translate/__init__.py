"""The conversations with upstreams, pure: one file for each client operation and upstream dialect."""
