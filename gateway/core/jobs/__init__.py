"""Jobs: paid work with a life of its own. Pure."""
