"""The engines of a fleet, real ones: servers from wheels that a test may stop, stall or kill."""

from .postgres import PostgresServer
from .valkey import ValkeyServer

__all__ = ["PostgresServer", "ValkeyServer"]
