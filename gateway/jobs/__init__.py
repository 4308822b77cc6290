"""Jobs: paid work that runs apart from the connections that wait for it."""
