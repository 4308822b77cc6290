"""A simulated PiAPI and backup provider. Every answer says so: ``x-sandbox: 1``."""
