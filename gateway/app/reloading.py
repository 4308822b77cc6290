"""What a reload of the configuration cannot change."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.config import NEEDS_RESTART, Config


def unchangeable(old: Config, new: Config, any_stored: bool) -> Iterable[str]:
    """What a reload cannot change, as sentences. ``any_stored``: the store has keys of its own."""
    for name, value in NEEDS_RESTART.items():
        if value(old) != value(new):
            yield f"{name}: a reload cannot change it; restart the gateway"
    # A file caught half-written may lack its end: that must not open the doors.
    if old.requires_key(stored_keys=any_stored) and not new.requires_key(stored_keys=any_stored):
        yield "keys: a reload cannot drop the last virtual key, which would let everybody in; restart the gateway"
    if old.admin.key and not new.admin.key:
        yield "admin.key: a reload cannot drop it, which would open the admin routes; restart the gateway"
