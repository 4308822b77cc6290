"""Keys and addresses that look wrong: what a shell, a copied line or an example left in them.

What is certainly wrong is an error, what is probably wrong a warning. No message repeats the value, a secret perhaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.document import Document
from gateway.config.environment import Substituted
from gateway.config.layer import Layer
from gateway.config.odd_values import is_doubtful_key, is_weak_key
from gateway.config.problems import Location, Problems
from gateway.core.types import Upstream

_OWN = frozenset(("admin", "keys"))
"""Where keys stand that the operator has thought of."""


def raw_value(document: Document, location: Location) -> Any:
    """What stands at a location, as it was before it was read; None if nothing does."""
    value: Any = document.data
    for step in location:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def from_where(document: Document, location: Location) -> str:
    """`` (it comes from NAME)`` if a value, or a key of a pool, came from the environment; else empty."""
    value = raw_value(document, location)
    if isinstance(value, dict):
        value = value.get("value")
    return f" (it comes from {', '.join(value.names)})" if isinstance(value, Substituted) else ""


def key_warnings(user: Layer, builtin: Layer, upstreams: Mapping[str, Upstream]) -> list[str]:
    """What is probably wrong with keys, ``file:line:column: path: message``."""
    found = Problems()
    for layer in (builtin, user):
        for location, value in _secrets(layer.document):
            if not isinstance(value, str) or layer.document.is_broken(location):
                continue
            message = is_doubtful_key(value) or (is_weak_key(value.strip()) if location[0] in _OWN else "")
            if message:
                position = layer.document.position(location)
                found.add(position, location, message + from_where(layer.document, location))
    return [*found.lines(), *_shared(upstreams)]


def _secrets(document: Document) -> Iterator[tuple[Location, Any]]:
    data = document.data
    for name, upstream in _mapping(data.get("upstreams")).items():
        pool = _mapping(upstream).get("keys")
        for index, key in enumerate(pool if isinstance(pool, list) else []):
            yield ("upstreams", name, "keys", index), key.get("value") if isinstance(key, dict) else key
    keys = data.get("keys")
    for index, key in enumerate(keys if isinstance(keys, list) else []):
        yield ("keys", index, "key"), _mapping(key).get("key")
    yield ("admin", "key"), _mapping(data.get("admin")).get("key")
    yield ("budget_alerts", "secret"), _mapping(data.get("budget_alerts")).get("secret")
    yield ("webhook_secret",), data.get("webhook_secret")


def _shared(upstreams: Mapping[str, Upstream]) -> Iterator[str]:
    """One provider's key is of no use at another, and would be told to it."""
    owner: dict[str, str] = {}
    for upstream in upstreams.values():
        for credential in upstream.credentials:
            first = owner.setdefault(credential.value, upstream.name)
            if first != upstream.name:
                yield (
                    f"upstreams.{upstream.name}: its key '{credential.name}' is also a key of the upstream '{first}'; "
                    "is it in the right place?"
                )


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
