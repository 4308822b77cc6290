"""The decisions about where a request goes: routes, the failover plan, and the health of hosts and keys."""
