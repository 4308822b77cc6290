"""The shape of the file's section on telemetry: the collector that gets traces and GenAI metrics."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from gateway.config import addresses
from gateway.config.fields import Read, Section

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_OWN = frozenset(
    ("connection", "content-encoding", "content-length", "content-type", "expect", "host", "te", "transfer-encoding")
)
_VALUE = re.compile(r"[!-~](?:[ !-~]{0,4094}[!-~])?")


def header_name(value: object) -> str:
    """A header's name, in lower case (RFC 9110)."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("expected a header's name, such as authorization")
    if value.lower() in _OWN:
        raise ValueError("this header says how the request is sent, and is not to be set")
    return value.lower()


def header_value(value: object) -> str:
    """A header's value, which may be a secret and is never repeated."""
    stripped = value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""
    if not _VALUE.fullmatch(stripped):
        raise ValueError("expected a header's value: visible ASCII characters, blanks only between them")
    return stripped


HeaderName = Annotated[str, Read(header_name, "header's name")]
HeaderValue = Annotated[str, Read(header_value, "header's value")]
CollectorUrl = Annotated[str, Read(addresses.collector, "http or https URL, or empty")]


class TelemetrySection(Section):
    """Traces and GenAI metrics by OTLP, over HTTP, to an OpenTelemetry collector: [tracing](tracing.md).

    Needs the extra `otel`. Neither prompts nor answers nor keys are in what is sent.
    """

    otlp: CollectorUrl = Field(
        default="",
        description="The collector's address, to which `/v1/traces` and `/v1/metrics` are added. Empty: what "
        "`$OTEL_EXPORTER_OTLP_ENDPOINT` says; without that nothing is sent.",
        examples=["http://localhost:4318"],
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default={},
        description="Headers that the collector asks for, by name; their values are secrets. They go before those of "
        "`$OTEL_EXPORTER_OTLP_HEADERS`.",
        examples=['{authorization: "Bearer ${OTLP_KEY}"}'],
    )
