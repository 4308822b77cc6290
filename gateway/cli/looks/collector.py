"""A look at the collector of traces and metrics: whether it can be connected to. Nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from gateway.cli.looks.finding import Finding, Seen, ok, warning

if TYPE_CHECKING:
    from gateway.core.connection_options import TLSFiles

CONNECT_WITHIN = 4.0
"""Seconds."""

NAME = "telemetry"


async def look_at_collector(seen: Seen) -> Sequence[Finding]:
    """Each place that telemetry is sent to."""
    if seen.config is None:
        return []
    settings, tls = seen.config.telemetry, seen.config.outward.tls
    places = {_origin(url): url for url in (settings.traces, settings.metrics) if url}
    if seen.offline and places:
        return [ok(NAME, f"{', '.join(places)} not asked (--offline)")]
    return [judge_collector(place, await _trouble(url, tls)) for place, url in places.items()]


def judge_collector(place: str, trouble: str) -> Finding:
    """``trouble``: why there is no connection; empty if there is one."""
    if not trouble:
        return ok(NAME, f"{place} can be connected to")
    advice = "start the collector, or take 'telemetry.otlp' out; no request waits for it (docs/tracing.md)"
    return warning(NAME, f"{place} cannot be connected to: {trouble}", advice)


async def _trouble(url: str, tls: TLSFiles) -> str:
    from gateway.core.connection_options import ConnectionOptions
    from gateway.core.types import Endpoint
    from gateway.upstream.dialer import SystemDialer

    parts = urlsplit(url)
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    port = parts.port or (443 if scheme == "https" else 80)
    endpoint = Endpoint(_origin(url), scheme, parts.hostname or "", port, options=ConnectionOptions(None, tls))
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            transport, _ = await SystemDialer()(endpoint, asyncio.Protocol)
    except TimeoutError:
        return f"no answer within {CONNECT_WITHIN:g} s"
    except (OSError, UnicodeError) as error:
        return (error.strerror if isinstance(error, OSError) else "") or str(error)
    transport.abort()
    return ""


def _origin(url: str) -> str:
    """The URL without what may be secret in it: a user, a path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
