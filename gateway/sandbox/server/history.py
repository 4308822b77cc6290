"""What the sandbox remembers: every request it was sent, and its bill."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from gateway.sandbox.server.billing import BillLine, amount
from gateway.sandbox.wire.answers import Role, Sale
from gateway.sandbox.wire.forms import Form, is_form, parse_form
from gateway.sandbox.wire.http import Headers, Request

Ending = Literal["running", "complete", "broken_off", "walled", "client_gone"]
"""How an answer ended: whole; ended early by its scenario; cut by the simulated Cloudflare; the client left."""


@dataclass
class RecordedRequest:
    """One request as it arrived.

    ``number``: its place in ``Sandbox.requests`` (as long as none was forgotten). ``connection``: which connection
    it came on; ``nth``: which request that is there, from 1. ``at``: the loop's time. ``path`` is without the
    ``/role/NAME`` prefix.
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
    ending: Ending = "running"
    bytes_sent: int = 0

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def headers(self) -> Headers:
        return self.request.headers

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


class Journal:
    """``history``: how many requests and bill lines are kept; ``billed`` counts all of them, in nano-dollars.

    ``drawn``: the same by API key, what the backup sold left out. ``running``: requests whose answers have not ended
    yet.
    """

    def __init__(self, history: int) -> None:
        self.requests: list[RecordedRequest] = []
        self.bill: list[BillLine] = []
        self.billed = 0
        self.drawn: Counter[str] = Counter()
        self.running = 0
        self._history = history
        self._serial = 0

    def record(self, request: Request, role: Role, connection: int, nth: int, at: float) -> RecordedRequest:
        self._serial += 1
        self.running += 1
        recorded = RecordedRequest(
            self._serial - 1, f"req-sandbox-{self._serial:08d}", role, connection, nth, at, request, request.path
        )
        self.requests.append(recorded)
        _trim(self.requests, self._history)
        return recorded

    def charge(self, recorded: RecordedRequest, sale: Sale, tokens: int, images: int, *, whole: bool) -> None:
        """Bill ``tokens`` and ``images`` of a sale."""
        nano_dollars = amount(recorded.role, sale, tokens, images)
        line = BillLine(
            number=recorded.number,
            request_id=recorded.id,
            role=recorded.role,
            key=recorded.key or "",
            model=sale.model,
            input_tokens=sale.input_tokens,
            cached_tokens=sale.cached_tokens,
            output_tokens=tokens,
            images=images,
            amount=nano_dollars,
            whole=whole,
        )
        self.bill.append(line)
        self.billed += nano_dollars or 0
        if line.role != "backup":
            self.drawn[line.key] += nano_dollars or 0
        _trim(self.bill, self._history)


def _trim(items: list[Any], limit: int) -> None:
    """Forget the older half once there are too many; half, so that it is cheap."""
    if len(items) > limit:
        del items[: len(items) - limit // 2]
