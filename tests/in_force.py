"""Settings in force, as the rooms ask for them, without a gateway around them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from gateway.core.client_address import Network
from gateway.core.types import Upstream


@dataclass
class Settings:
    """All that a room below the exchange may ask for. Its own holder, and a test may change it at any time."""

    hosts: Collection[str] = ()
    admin_hosts: Collection[str] = ()
    admin_key: str | None = None
    cors_origins: Collection[str] = ()
    trusted_proxies: Sequence[Network] = ()
    refused_teams: Collection[str] = ()
    webhook_secret: str = ""
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    points_per_usd: int = 10_000_000
    time_zone: tzinfo = UTC

    @property
    def snapshot(self) -> Settings:
        return self
