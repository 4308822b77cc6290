"""The front door: ASGI in, values out, and back."""
