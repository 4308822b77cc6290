"""piapi-gateway: an OpenAI-compatible local gateway to PiAPI and a backup provider."""

__version__ = "0.1.0"
