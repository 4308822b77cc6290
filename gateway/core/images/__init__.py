"""Orders for images, as values: what was ordered, how it is split, and what Flux makes of it."""
