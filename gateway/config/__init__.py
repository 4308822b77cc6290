"""Configuration: a YAML file and the environment → one frozen Config. No other package reads the environment.

    bytes → tree.py (nodes with positions) → document.py (plain data, filled from the environment)
          → layer.py (checked against schema.py) → assemble.py (core types, checked against one another) → Config

The built-in catalogue, gateway/catalogue.yaml, is read in the same way; the user's file overrides it.
"""

from gateway.config.catalogue import Catalogue, days_old, load_catalogue
from gateway.config.changes import Change, changes
from gateway.config.cut_files import cut_off
from gateway.config.endings import EndWarning, end_warnings, without_ends
from gateway.config.list_prices import list_price, list_prices, unlisted_output, unlisted_price
from gateway.config.loader import load, load_admin, load_rest
from gateway.config.paths import beside_file, misplaced_store
from gateway.config.settings import Config
from gateway.config.summary import NEEDS_RESTART, describe_models, describe_price, usd
from gateway.config.values import budget, duration

__all__ = [
    "NEEDS_RESTART",
    "Catalogue",
    "Change",
    "Config",
    "EndWarning",
    "beside_file",
    "budget",
    "changes",
    "cut_off",
    "days_old",
    "describe_models",
    "describe_price",
    "duration",
    "end_warnings",
    "list_price",
    "list_prices",
    "load",
    "load_admin",
    "load_catalogue",
    "load_rest",
    "misplaced_store",
    "unlisted_output",
    "unlisted_price",
    "usd",
    "without_ends",
]
