"""What clients ask for under violence: every way through the gateway, with faults on the way and clients that leave.

Each request carries a marker of its own, in its prompt and as its ``x-request-id``, so that every line of the
sandbox's bill, and every row of the ledger, can be traced back to it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHAT, IMAGES, TASK = "/v1/chat/completions", "/v1/images/generations", "/api/v1/task"

MARKER = re.compile(rb"soak-\d{7}")

LEAVING = 0.15
"""The part of clients that hang up before their answer is complete."""

MOST_PATIENCE = 0.25
"""Seconds after which such a client has left, at the latest."""


@dataclass(frozen=True, slots=True)
class Order:
    """One request. ``key``: the virtual key's value. ``leaves``: seconds after which its client hangs up, or None."""

    marker: str
    kind: str
    key: str = field(repr=False)
    path: str
    body: Mapping[str, Any]
    leaves: float | None

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}", "x-request-id": self.marker}

    @property
    def content(self) -> bytes:
        return json.dumps(self.body).encode()


@dataclass(frozen=True)
class Kind:
    """A kind of request: ``fields`` of its body besides the prompt, and what the upstreams may play on it.

    ``scenarios``: texts of markers, drawn from at random. ``weight``: how often it is drawn.
    """

    name: str
    path: str
    fields: Mapping[str, Any]
    scenarios: Sequence[str] = ("ok",)
    weight: int = 2

    def body(self, words: str) -> dict[str, Any]:
        if self.path == CHAT:
            return {**self.fields, "messages": [{"role": "user", "content": words}]}
        if self.path == TASK:
            return {**self.fields, "input": {"prompt": words, "width": 256, "height": 256}}
        return {**self.fields, "prompt": words}


# ``bought=1``: the provider did the work and bills it, though nobody ever sees it. Only where the gateway is in doubt,
# by its rules: an error that PiAPI itself answers is not billed, nor is a chat on a kept connection that was closed.
_LOST = ("reset_before_head;bought=1;role=api", "cf_524;bought=1;role=api")
_CHATS = (
    *("ok", "ok", "slow;delay=4", "ok;cached=5", "no_usage", "server_error;role=api", "reset_before_head;role=api"),
    *("cf_524;bought=1;role=api", "html_200;bought=1;role=api"),
)
_BROKEN = (
    *("cut_early;bought=1;role=api", "cut;after_events=6;role=api", "rst;after_events=6;role=api"),
    "clean_eof;after_events=4;role=api",
)
_PAINTED = ("ok", "slow;delay=6", "server_error;role=api", "image_refused", "image_failed", *_LOST)
_MADE = ("ok", "stall_head;seconds=0.1", "server_error;role=api", *_LOST)
_CREATION = "method=POST;path=/api/v1/task;role=api"
_TASKS = (
    "ok",
    "ok;ready=0.05",
    "ok;ready=0.15",
    "task_failed",
    "task_odd",
    f"cf_524;bought=1;{_CREATION}",
    f"status;code=503;{_CREATION}",
    f"cf_origin_down;{_CREATION}",
)

KINDS: tuple[Kind, ...] = (
    Kind("chat, whole", CHAT, {"model": "gpt-4o"}, (*_CHATS, *_BROKEN), weight=6),
    Kind("chat, whole", CHAT, {"model": "gpt-4o-mini", "max_tokens": 40}, (*_CHATS, *_BROKEN), weight=4),
    Kind("chat, streamed", CHAT, {"model": "gpt-4.1-nano", "stream": True}, (*_CHATS, *_BROKEN), weight=6),
    Kind("chat, streamed", CHAT, {"model": "gpt-4o", "stream": True, "n": 2}, (*_CHATS, *_BROKEN), weight=4),
    Kind("gpt-4o-image, chat", CHAT, {"model": "gpt-4o-image"}, _PAINTED),
    Kind("gpt-4o-image, chat", CHAT, {"model": "gpt-4o-image", "stream": True}, _PAINTED),
    Kind("gpt-4o-image", IMAGES, {"model": "gpt-4o-image"}, _PAINTED),
    Kind("gpt-4o-image", IMAGES, {"model": "gpt-4o-image", "n": 2}, _PAINTED),
    Kind("gpt-image-1", IMAGES, {"model": "gpt-image-1", "quality": "low"}, _MADE),
    Kind("gpt-image-1", IMAGES, {"model": "gpt-image-1", "quality": "high", "size": "1024x1024"}, _MADE, weight=1),
    Kind("Flux", IMAGES, {"model": "flux-schnell", "size": "256x256"}, _TASKS),
    Kind("Flux", IMAGES, {"model": "flux-dev", "size": "256x256", "n": 2}, _TASKS),
    Kind("task relay", TASK, {"model": "Qubico/flux1-schnell", "task_type": "txt2img"}, _TASKS, weight=3),
)


class Orders:
    """Draws requests. The same seed draws the same ones; ``keys`` are the virtual keys' values."""

    def __init__(self, chance: random.Random, keys: Sequence[str], kinds: Sequence[Kind]) -> None:
        self._chance = chance
        self._keys = keys
        self._kinds = kinds
        self._weights = [kind.weight for kind in kinds]
        self._serial = 0

    def __iter__(self) -> Orders:
        return self

    def __next__(self) -> Order:
        chance = self._chance
        self._serial += 1
        marker = f"soak-{self._serial:07d}"
        (kind,) = chance.choices(self._kinds, self._weights)
        words = (
            f"{marker} a lighthouse in a storm, {chance.randrange(10**6)} [[sandbox: {chance.choice(kind.scenarios)}]]"
        )
        leaves = chance.uniform(0, MOST_PATIENCE) if chance.random() < LEAVING else None
        return Order(marker, kind.name, chance.choice(self._keys), kind.path, kind.body(words), leaves)
