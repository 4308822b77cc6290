"""A fuzz of what upstreams and clients really send: a grammar of odd streams and odd requests, and an oracle for each.

Every case is made from one integer, and replayed from it: ``python -m tests.fuzz streams --only 4711``.
"""
