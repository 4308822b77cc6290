"""Whole answers that are kept for equal requests: by model, within bytes, for a time. Pure: the time is passed in.

Who may be given an answer is part of the name that it is kept under (``request_digest``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.route_rules import CacheRules
from gateway.core.types import Route, VirtualKey

_BESIDE = 256
"""Bytes that an answer takes in memory beside its own."""

_TOOLS = ("tools", "functions")
_ASKS_FOR_MORE = ("web_search_options", "audio")
"""Fields, be they empty, of a request whose answer is no mere text: searches of the moment, sounds that later requests
name."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is given again. ``saved``: nano-dollars that it had cost; None if that is not known."""

    body: bytes
    saved: int | None = None


@dataclass(slots=True)
class _Shelf:
    """The answers of one model, the one that was asked for last at the end: digest → answer and when it was kept.

    ``size``: bytes that they take.
    """

    answers: dict[bytes, tuple[KeptAnswer, float]] = field(default_factory=dict)
    size: int = 0

    def drop(self, digest: bytes) -> None:
        found = self.answers.pop(digest, None)
        if found is not None:
            self.size -= len(found[0].body) + _BESIDE


class AnswerCache:
    """The answers of all models. ``epoch``: grows with every reload; what was begun before one is not kept after it."""

    def __init__(self) -> None:
        self.epoch = 0
        self._shelves: dict[str, _Shelf] = {}
        self._routes: Mapping[str, Route] = {}

    @property
    def size(self) -> int:
        """The bytes that all kept answers take."""
        return sum(shelf.size for shelf in self._shelves.values())

    def configure(self, routes: Iterable[Route]) -> None:
        """Go by these settings: the answers of a model are forgotten whose own have changed."""
        self.epoch += 1
        before, self._routes = self._routes, {route.model: route for route in routes}
        for model in list(self._shelves):
            if self._routes.get(model) != before.get(model):
                del self._shelves[model]

    def find(self, model: str, rules: CacheRules, digest: bytes, now: float) -> KeptAnswer | None:
        """The answer that is kept under this name, unless it is too old."""
        shelf = self._shelves.get(model)
        found = None if shelf is None else shelf.answers.pop(digest, None)
        if shelf is None or found is None:
            return None
        shelf.answers[digest] = found
        answer, at = found
        if now - at > rules.ttl:
            shelf.drop(digest)
            return None
        return answer

    def keep(self, model: str, rules: CacheRules, digest: bytes, answer: KeptAnswer, now: float) -> None:
        """Keep an answer; those that were not asked for longest make room. One that is too large is not kept."""
        shelf = self._shelves.setdefault(model, _Shelf())
        shelf.drop(digest)
        needed = len(answer.body) + _BESIDE
        if needed > rules.max:
            return
        shelf.answers[digest] = (answer, now)
        shelf.size += needed
        while shelf.size > rules.max:
            shelf.drop(next(iter(shelf.answers)))


def may_be_kept(body: Mapping[str, Any]) -> bool:
    """Whether an equal request may be given the same answer: it asks for no stream, no tools, and not for several
    choices that shall differ.
    """
    if body.get("stream") or any(body.get(name) for name in _TOOLS):
        return False
    if any(body.get(name) is not None for name in _ASKS_FOR_MORE):
        return False
    several = any(isinstance(body.get(name), int) and body[name] > 1 for name in ("n", "best_of"))
    return not several or body.get("temperature") == 0


def request_digest(rules: CacheRules, key: VirtualKey, path: str, model: str, body: Mapping[str, Any]) -> bytes:
    """The name that the answer is kept under: of the key, or its team where that shares, of the route and the model,
    and of every field, in any order of sending.

    Raises TypeError for what is nested too deeply to be written.
    """
    owner = ["team", key.team] if rules.share == "team" and key.team is not None else ["key", key.name]
    named = {**body, "model": model}
    text = orjson.dumps([owner, path, named], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=32).digest()


def as_given_again(answer: bytes) -> bytes:
    """An answer that costs nothing the next time: where its usage tells a cost, that is 0.

    Raises ValueError for what is no JSON document.
    """
    if b'"cost"' not in answer:
        return answer
    document = orjson.loads(answer)
    usage = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(usage, dict) or "cost" not in usage:
        return answer
    return orjson.dumps({**document, "usage": {**usage, "cost": 0}})
