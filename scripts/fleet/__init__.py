"""A fleet on one machine, to look at: its gateways, and the balancer before them."""
