"""Pure decisions: no clock, no I/O, no randomness but what is passed in."""
