"""What the gateways of a fleet share besides their store: what is fast, and may be lost."""
