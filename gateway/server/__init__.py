"""HTTP/1.1 towards clients: protocol, heads, bodies, guards, writing."""
