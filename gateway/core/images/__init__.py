"""The types of image orders, how an order is split, and the Flux task for it."""
