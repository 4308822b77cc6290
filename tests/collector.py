"""A collector for traces and metrics by OTLP over HTTP, on a real socket, that decodes what it gets.

async with Collector() as collector:
    ...                                    # telemetry: {otlp: collector.url}
    [span] = await collector.spans(1)
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from dataclasses import dataclass, field
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 20.0
"""Seconds after which a test gives up; nothing is ever asserted to be fast."""

_KINDS = {2: "server", 3: "client"}
_STATES = {0: "unset", 1: "ok", 2: "error"}


@dataclass(frozen=True)
class Received:
    """A request. ``headers``: names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class SeenSpan:
    """A span as it came. Ids are in hexadecimal, times Unix nanoseconds; ``parent`` is empty for none."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    start: int
    end: int
    status: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)

    @property
    def traceparent(self) -> str:
        """What an upstream of a sampled span is told, without the flags."""
        return f"00-{self.trace}-{self.id}-"


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Collector:
    """``status``: what it answers. ``silent``: it takes what comes and answers nothing. ``endless``: its answers
    have no end. ``tls``: None for plain HTTP. ``requests``: all it got.
    """

    def __init__(self, status: int = 200, *, silent: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.status = status
        self.silent = silent
        self.endless = False
        self._tls = tls
        self.requests: list[Received] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Be gone."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def bytes_seen(self) -> bytes:
        """All that came, heads and unpacked bodies."""
        return b"\n".join(repr(one.headers).encode() + one.body for one in self.requests)

    def all_spans(self) -> list[SeenSpan]:
        """Every span that has come, the first that began first."""
        found = []
        for one in self.requests:
            if one.path.endswith("/v1/traces"):
                found += _spans(ExportTraceServiceRequest.FromString(one.body))
        return sorted(found, key=lambda span: span.start)

    async def spans(self, count: int) -> list[SeenSpan]:
        """The spans, once there are exactly so many: the requests' first, then the attempts in their order."""
        await self.until(lambda: len(self.all_spans()) >= count, f"{count} spans")
        found = self.all_spans()
        assert len(found) == count, [span.name for span in found]
        return [span for kind in ("server", "client") for span in found if span.kind == kind]

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], int, float, list[float]]]]:
        """Name → for each series its attributes, count, sum and bounds, as they came last."""
        found = {}
        for one in self.requests:
            if one.path.endswith("/v1/metrics"):
                for resource in ExportMetricsServiceRequest.FromString(one.body).resource_metrics:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            found[metric.name] = [
                                (_values(point.attributes), point.count, point.sum, list(point.explicit_bounds))
                                for point in metric.histogram.data_points
                            ]
        return found

    async def until(self, condition: Any, what: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"waited in vain for: {what}"
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                self.requests.append(Received(head[0].split(" ")[1], headers, body))
                if self.endless:
                    await self._flood(writer)
                if not self.silent:
                    writer.write(b"HTTP/1.1 %d Whatever\r\ncontent-length: 0\r\n\r\n" % self.status)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        """Answer for as long as it is read, up to 200 MB."""
        writer.write(b"HTTP/1.1 %d Whatever\r\ntransfer-encoding: chunked\r\n\r\n" % self.status)
        for _ in range(200):
            writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        raise AssertionError("all of it was read")


def _spans(message: Any) -> list[SeenSpan]:
    return [
        SeenSpan(
            name=span.name,
            kind=_KINDS[span.kind],
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            state=span.trace_state,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            status=_STATES[span.status.code],
            attributes=_values(span.attributes),
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            resource=_values(resource.resource.attributes),
        )
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
