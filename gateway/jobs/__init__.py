"""Jobs: paid work that has a life of its own, apart from the connections that wait for it."""
