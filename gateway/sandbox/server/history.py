"""The sandbox's history: every request it was sent, and the bill for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.sandbox.server.billing import BillLine, sale_amount
from gateway.sandbox.wire.answers import Role, Sale
from gateway.sandbox.wire.http import Request
from gateway.sandbox.wire.requests import MODELS_PATH, RecordedRequest


class History:
    """The requests received and the bill lines written so far.

    ``listings``: the requests for the list of models, which a gateway sends of its own accord; they are kept apart, so
    that ``requests`` holds what clients asked for. ``key_checks``: those by which it looks at its keys. ``limit``: how
    many of each are kept. ``billed``: the sum of all lines, in nano-dollars, those forgotten included. ``drawn``: the
    same by API key, without what the backup sold.
    ``running``: requests whose answers have not ended.
    """

    def __init__(self, limit: int) -> None:
        self.requests: list[RecordedRequest] = []
        self.listings: list[RecordedRequest] = []
        self.key_checks: list[RecordedRequest] = []
        self.bill: list[BillLine] = []
        self.billed = 0
        self.drawn: Counter[str] = Counter()
        self.running = 0
        self._limit = limit
        self._serial = 0
        self._number = 0

    def record(self, request: Request, role: Role, connection: int, nth: int, at: float) -> RecordedRequest:
        self._serial += 1
        self.running += 1
        listing = (request.method, request.path) == ("GET", MODELS_PATH)
        id = f"req-sandbox-{self._serial:08d}"
        recorded = RecordedRequest(self._number, id, role, connection, nth, at, request, request.path)
        checking = recorded.is_key_check
        if listing or checking:
            recorded.number = -1
        else:
            self._number += 1
        kept = self.key_checks if checking else self.listings if listing else self.requests
        kept.append(recorded)
        _trim(kept, self._limit)
        return recorded

    def charge(self, recorded: RecordedRequest, sale: Sale, tokens: int, images: int, *, whole: bool) -> None:
        """Bill ``tokens`` and ``images`` of a sale."""
        nano_dollars = sale_amount(recorded.role, sale, tokens, images)
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
        _trim(self.bill, self._limit)


def _trim(items: list[Any], limit: int) -> None:
    """Forget the older half once there are too many; half, so that it is cheap."""
    if len(items) > limit:
        del items[: len(items) - limit // 2]
