"""Which version runs, and whether its hot modules are compiled or plain Python (docs/performance.md)."""

from __future__ import annotations

from importlib.util import find_spec

from gateway import __version__

_HOT = find_spec("gateway.core.types")  # one tells for all: they are compiled together, and looking loads nothing

COMPILED = _HOT is not None and not (_HOT.origin or "").endswith(".py")

PROGRAM = f"piapi-gateway {__version__} ({'compiled' if COMPILED else 'pure Python'})"
