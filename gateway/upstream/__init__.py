"""Talking HTTP/1.1 to upstreams: the only room that opens sockets outward."""
