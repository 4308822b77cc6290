"""Where a request goes next: routes, the failover plan, and the health of hosts and keys it is made by."""
