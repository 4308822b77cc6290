"""The types, errors and decisions of the gateway, pure: clock, I/O and randomness are passed in."""
