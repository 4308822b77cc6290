"""HTTP/1.1 towards upstreams: the only room that opens sockets to other hosts."""
