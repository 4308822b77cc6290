"""Traces and GenAI metrics, where the configuration names a collector; elsewhere nothing of it is even imported."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.config import Config
from gateway.core.errors import OperatorError
from gateway.endpoints.health import PATHS as HEALTH
from gateway.exchange.services import Services
from gateway.runtime.ports import Clock
from gateway.server.client import Client
from gateway.server.dispatch import Dispatch
from gateway.server.request import STATUS_CLIENT_GONE, Request
from gateway.telemetry.losses import Losses
from gateway.telemetry.spans import RequestEnd
from gateway.telemetry.tracing import RequestTrace, Tracing

if TYPE_CHECKING:
    from gateway.telemetry.otlp import Otlp

_UNTRACED = frozenset(path.encode() for path in HEALTH)
"""What machines ask again and again."""


class Telemetry:
    """``sender``: None for none, and then nothing is traced."""

    def __init__(self, services: Services, sender: Otlp | None = None) -> None:
        self._services = services
        self._sender = sender

    @classmethod
    def start(cls, config: Config, services: Services) -> Telemetry:
        """Begin, if there is a collector. Raises OperatorError if what sends it is not installed, or refuses a variable
        of the environment.
        """
        settings = config.telemetry
        if settings.refusal:
            raise OperatorError(settings.refusal)
        if not settings.traces and not settings.metrics:
            return cls(services)
        from gateway.telemetry.otlp import Collector, Otlp

        losses, trusted = Losses(services.log, services.clock.monotonic), config.outward.tls.ca_files
        place = Collector(
            settings.traces, settings.metrics, settings.headers, services.gateway_id, __version__, trusted
        )
        try:
            telemetry = cls(services, Otlp(place, losses))
        except ValueError as error:
            raise OperatorError(f"telemetry: OpenTelemetry refuses a variable of the environment: {error}") from None
        services.tasks.spawn(losses.watch(), "telemetry")
        return telemetry

    def dispatch(self, *args: Any, **options: Any) -> Dispatch:
        """The routes of the main listener, traced if anything is. The arguments: of ``Dispatch``."""
        if self._sender is None:
            return Dispatch(*args, **options)
        traced = TracedDispatch(*args, **options)
        services, later = self._services, asyncio.get_running_loop().call_soon
        tracing = Tracing(self._sender, services.randomness, services.metrics.named_models, later)
        traced.trace_by(tracing, services.clock)
        return traced

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        if self._sender is not None:
            await asyncio.sleep(0)  # what has just ended is told in the loop's next turn
            await self._sender.close()


class TracedDispatch(Dispatch):
    """A Dispatch whose requests have a trace each; health checks have none."""

    _tracing: Tracing
    _clock: Clock

    def trace_by(self, tracing: Tracing, clock: Clock) -> None:
        """To be called before it is used."""
        self._tracing, self._clock = tracing, clock

    async def __call__(self, request: Request, client: Client) -> None:
        if request.path in _UNTRACED:
            await super().__call__(request, client)
            return
        age = request.connection.loop.time() - request.began
        began_ns = self._clock.wall_ns() - int(max(0.0, age) * 1e9)
        trace = self._tracing.begin(request.every(b"traceparent"), request.every(b"tracestate"), began_ns)
        request.trace = trace
        try:
            await super().__call__(request, client)
        finally:
            self._end(request, client, trace)

    def _end(self, request: Request, client: Client, trace: RequestTrace) -> None:
        error, key = request.error, request.key
        trace.request_ended(
            RequestEnd(
                method=request.method,
                route=self.route_of(request.path),
                status=request.status or client.status or STATUS_CLIENT_GONE,
                gone=client.gone,
                ended_ns=self._clock.wall_ns(),
                request_id=request.id,
                code=None if error is None else error.code or str(error.status),
                key=None if key is None else key.name,
                team=None if key is None else key.team,
                model=request.model,
            )
        )
