"""The journal of requests: each that no exchange counts is counted here, and each that was refused leaves one line.

    {"event":"refused","request_id":"req_1","address":"192.0.2.7","key":"alice","method":"POST",
     "route":"/v1/chat/completions","status":400,"code":"invalid_json","reason":"The body is not valid JSON."}

Neither keys nor queries nor what was asked are in it: the reasons are the gateway's own words to its client. Of who has
no admin key there is one line an address and minute, ``admin_refused``, with the number of requests.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.limits.auth_throttle import network_of
from gateway.core.types import OTHER
from gateway.exchange.services import Services
from gateway.server.paths import shown_path
from gateway.server.request import STATUS_CLIENT_GONE, Request
from gateway.telemetry.minute_lines import MinuteLines
from gateway.telemetry.repeated_lines import RepeatedLines

MODEL_SHOWN = 64
"""Characters of a model's name in a line: clients choose it."""

_SECRET = re.compile(rb"^/+images/.*|/webhooks/.*", re.DOTALL)
"""The part of a path that may be a secret: with it, anybody could fetch a picture."""

COUNTED_EVERY = 10.0
"""Seconds between two looks for refusals that were only counted."""


class RequestJournal:
    """``address``: the client's, of a request. ``uncounted``: routes that machines ask again and again (health
    checks, scrapes); they count only when they are refused, so as not to water down what clients get. ``evicted``: by
    listener, the connections that had to make room for others so far.
    """

    def __init__(self, services: Services, address: Callable[[Request], str]) -> None:
        self._services = services
        self._address = address
        self.uncounted: Collection[str] = ()
        self.evicted: Callable[[], Mapping[str, int]] = dict
        self._evicted: dict[str, int] = {}
        log = services.log
        self._lines = RepeatedLines(
            lambda fields: log.warning("refused", **fields),
            lambda number, fields: log.warning("refused_more", number=number, **fields),
            services.clock.monotonic,
        )
        self._guesses = MinuteLines(
            lambda number, fields: log.warning("admin_refused", number=number, **fields), services.clock.monotonic
        )

    def ended(self, request: Request) -> None:
        """A request has ended."""
        route, status, error = request.route or OTHER, request.status, request.error
        if not request.counted and (route not in self.uncounted or error is not None):
            self._count(request, route)
        if error is None and (status < 400 or route in self.uncounted):
            return
        if error is not None and error.code == "internal_error":
            return  # the log has it, with its traceback
        self._tell(request, route)

    def ended_at_admin(self, request: Request) -> None:
        """A request to the admin listener has ended. A 401 or 429 there comes from its door only."""
        if request.status not in (401, 429) or request.error is None:
            self.ended(request)
            return
        route = request.route or OTHER
        self._count(request, route)
        fields = self._fields(request, route)
        self._guesses.tell((network_of(fields["address"]),), fields)

    def refused_unseen(self, route_of: Callable[[bytes], str | None], request: Request) -> None:
        """A request was refused before the application saw it. ``route_of``: the route of a raw path, None for none."""
        request.route = route_of(request.path) if request.path else None
        self.ended(request)

    async def watch(self) -> None:
        """Write, every now and then, how much was only counted; runs until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(COUNTED_EVERY)
                self._lines.write_counts()
                self._guesses.write_counts()
                self._tell_evicted()
        finally:
            self._lines.write_counts()
            self._guesses.write_counts(all_=True)

    def _tell_evicted(self) -> None:
        """Write how many connections had to make room since the last time: a flood, or too few files."""
        for listener, number in self.evicted().items():
            if more := number - self._evicted.get(listener, 0):
                self._evicted[listener] = number
                self._services.log.warning("connections_evicted", listener=listener, number=more)

    def _count(self, request: Request, route: str) -> None:
        key, model = request.key, request.model
        found = self._services.snapshot.routes.find(model) if model is not None else None
        self._services.metrics.observe(
            ExchangeRecord(
                "",
                key=key.name if key is not None else "",
                team=key.team if key is not None else None,
                route=route,
                status=request.status,
                upstream=request.upstream,
                listed_model=found.model if found is not None else None,
                duration=request.seconds,
            )
        )

    def _tell(self, request: Request, route: str) -> None:
        fields = self._fields(request, route)
        kind = (fields["address"], fields["key"], route, request.status, fields["code"])
        self._lines.tell(kind, fields)

    def _fields(self, request: Request, route: str) -> dict[str, Any]:
        """What a line says of a refused request."""
        address = self._address(request)
        key = request.key.name if request.key is not None else None
        code, reason = _why(request)
        fields: dict[str, Any] = {
            "request_id": request.id,
            "address": address,
            "key": key,
            "method": request.method or None,
            "route": route,
            "status": request.status,
            "code": code,
            "reason": reason,
        }
        if request.route is None and request.path:
            fields["path"] = shown_path(_SECRET.sub(b"/...", request.path))
        if request.model is not None:
            fields["model"] = request.model[:MODEL_SHOWN]
        return fields


def _why(request: Request) -> tuple[str | None, str]:
    error = request.error
    if error is None:
        gone = request.status == STATUS_CLIENT_GONE
        return ("client_gone", "the client left") if gone else (None, "the upstream's own answer")
    if error.source == "upstream":
        return error.code, error.detail or error.type  # its message may hold an upstream's words, those the prompt
    return error.code, error.detail or error.message
