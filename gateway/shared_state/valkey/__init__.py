"""Shared state on Valkey or Redis (6.2 and later), by redis-py."""
