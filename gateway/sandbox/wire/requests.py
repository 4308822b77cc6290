"""Requests as the sandbox keeps them: what arrived, where, and how its answer ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from gateway.sandbox.wire.answers import Role
from gateway.sandbox.wire.forms import Form, is_form, parse_form
from gateway.sandbox.wire.http import Headers, Request

MODELS_PATH = "/v1/models"

AnswerEnding = Literal["running", "complete", "broken_off", "walled", "client_gone"]
"""How an answer ended: whole; ended early by its scenario; cut by the simulated Cloudflare; the client left."""


@dataclass
class RecordedRequest:
    """One request as it arrived.

    ``number``: its place in ``Sandbox.requests`` (as long as none was forgotten), below 0 if it is not there.
    ``connection``: which connection it came on; ``nth``: which request that is there, from 1. ``at``: the loop's time.
    ``path`` is without the ``/role/NAME`` prefix.
    """

    number: int
    id: str
    role: Role
    connection: int
    nth: int
    at: float
    request: Request = field(repr=False)
    path: str = ""
    scenario: str = ""
    ending: AnswerEnding = "running"
    bytes_sent: int = 0

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def headers(self) -> Headers:
        return self.request.headers

    @property
    def is_key_check(self) -> bool:
        """Whether a gateway looks at one of its keys, of its own accord."""
        return (self.get(b"user-agent") or b"").endswith(b"(key check)")

    @property
    def body(self) -> bytes:
        return self.request.body

    @property
    def key(self) -> str | None:
        return self.request.key

    def get(self, name: bytes) -> bytes | None:
        return self.request.get(name)

    @cached_property
    def json(self) -> Any:
        """The body's JSON, or None."""
        try:
            return orjson.loads(self.request.body)
        except orjson.JSONDecodeError:
            return None

    @cached_property
    def form(self) -> Form | None:
        """The body's form, or None; a test compares its fields and files with what a client was given."""
        content_type = self.request.get(b"content-type") or b""
        if not is_form(content_type):
            return None
        try:
            return parse_form(content_type, self.request.body)
        except ValueError:
            return None

    @property
    def model(self) -> str | None:
        if self.form is not None:
            return self.form.get("model")
        model = self.json.get("model") if isinstance(self.json, dict) else None
        return model if isinstance(model, str) else None
