"""The counting of requests that end before an exchange begins: by route, status and, where known, key and model."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType

from gateway.core.errors import GatewayError
from gateway.core.types import Usage, VirtualKey
from gateway.exchange.exchange import STATUS_CLIENT_GONE
from gateway.exchange.services import Services
from gateway.server.body import SenderGone
from gateway.telemetry.metrics import FinishedExchange


@dataclass(slots=True)
class Refusal:
    """The known facts of a request that may be refused. As a context, it counts a refusal raised inside and lets it
    pass.

    ``model``: as the client named it; None until it is known.
    ``key``, ``upstream``: None until known.
    """

    services: Services
    route: str
    key: VirtualKey | None = None
    model: str | None = None
    upstream: str | None = None
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.services.clock.monotonic()

    def __enter__(self) -> Refusal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GatewayError):
            self.count(error.status)
        elif isinstance(error, SenderGone):
            self.count(STATUS_CLIENT_GONE)

    def count(self, status: int) -> None:
        """Count the request as refused with this status."""
        found = self.services.snapshot.routes.find(self.model) if self.model is not None else None
        self.services.metrics.observe(
            FinishedExchange(
                route=self.route,
                model=found.model if found is not None else None,
                upstream=self.upstream,
                status=status,
                key=self.key.name if self.key is not None else None,
                team=self.key.team if self.key is not None else None,
                charged=0,
                upstream_costs=(),
                usage=Usage(),
                duration=self.services.clock.monotonic() - self.began,
            )
        )
