"""Configuration: a YAML file and the environment → one frozen Config. Nothing else reads the environment.

    bytes → tree.py (nodes with places) → document.py (plain data, filled from the environment)
          → layer.py (checked against schema.py) → assemble.py (core types, checked against one another) → Config

The built-in catalogue, gateway/catalogue.yaml, goes the same way and lies beneath the user's file.
"""

from gateway.config.catalogue import Catalogue, load_catalogue
from gateway.config.loader import load
from gateway.config.settings import Config
from gateway.config.summary import NEEDS_RESTART, UNSERVED, describe_models, describe_price, unsupported, usd
from gateway.config.values import budget, duration

__all__ = [
    "NEEDS_RESTART",
    "UNSERVED",
    "Catalogue",
    "Config",
    "budget",
    "describe_models",
    "describe_price",
    "duration",
    "load",
    "load_catalogue",
    "unsupported",
    "usd",
]
