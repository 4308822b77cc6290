"""The configuration that tests of a whole gateway start from: every upstream in it is the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.sandbox import Sandbox

ALICE = "gw-alice-000111222333444555"
"""The virtual key of most tests; it has no limits."""

PIAPI_KEY = "sk-piapi-aaabbbcccdddeeefff"
BACKUP_KEY = "sk-backup-ggghhhiiijjjkkklll"


def base_config(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """PiAPI's two hosts and the backup, one key each, one user; free ports, and the ledger in ``folder``."""
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "store": f"sqlite:///{folder / 'gateway.db'}",
        "upstreams": {
            "piapi": {
                "endpoints": [{"url": sandbox.urls["api"], "wall": "120s"}, {"url": sandbox.urls["proxy"]}],
                "keys": [{"name": "first", "value": PIAPI_KEY}],
            },
            "backup": {
                "endpoints": [{"url": sandbox.urls["backup"]}],
                "keys": [{"name": "spare", "value": BACKUP_KEY}],
            },
        },
        "teams": {"growth": {}},
        "keys": [{"name": "alice", "team": "growth", "key": ALICE}],
    }


def merged(base: Any, over: Any) -> Any:
    """Mappings are merged at every depth; anything else of ``over`` stands in place of what was."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{name: merged(base.get(name), value) for name, value in over.items()}}
    return over
