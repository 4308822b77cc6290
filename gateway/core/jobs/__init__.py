"""Decisions about jobs: paid work that has a life of its own. Pure."""
