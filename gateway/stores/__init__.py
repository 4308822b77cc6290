"""Where the books are kept: one protocol, several backends."""
