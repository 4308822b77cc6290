"""The life of a request: admit → plan → attempt → settle."""
