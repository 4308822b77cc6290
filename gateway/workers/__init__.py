"""Several processes of one machine that act as one gateway: a supervisor, and the workers that it starts."""
