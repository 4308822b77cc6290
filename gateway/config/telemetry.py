"""Where telemetry goes, by the file and by the environment's OTEL_* variables; the file wins.

What the environment says is meant for every program of a machine or a pod: if it cannot be done, that is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import unquote

from gateway.config.addresses import collector
from gateway.config.telemetry_schema import TelemetrySection

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PLACES = {"traces": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "metrics": "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"}
_SWITCHES = {"traces": "OTEL_TRACES_EXPORTER", "metrics": "OTEL_METRICS_EXPORTER"}
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

_MILLISECONDS = (
    *("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"),
    *("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"),
)

INSTALL = "pip install 'piapi-gateway[otel]'"


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """Where traces and GenAI metrics go.

    ``traces``, ``metrics``: the URLs; empty for none. ``headers``: of the file; secrets.
    ``refusal``: why what the file asks for cannot be done; empty if it can.
    """

    traces: str = ""
    metrics: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    refusal: str = ""


def build_telemetry(section: TelemetrySection, environ: Mapping[str, str]) -> tuple[TelemetryConfig, list[str]]:
    """Where it goes, and the warnings about what the environment says in vain."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return TelemetryConfig(), []
    wanted = [signal for signal, switch in _SWITCHES.items() if environ.get(switch, "").strip() != "none"]
    if section.otlp:
        urls = {signal: f"{section.otlp}/v1/{signal}" for signal in wanted}
        refusal = ""
        if urls and not installed():
            refusal = f"telemetry.otlp: what sends it is not installed; run: {INSTALL}"
        elif urls and (unusable := _unusable(environ)):
            refusal = f"telemetry.otlp: {unusable}"
        return TelemetryConfig(urls.get("traces", ""), urls.get("metrics", ""), section.headers, refusal), []
    named, warnings = _of_environment(environ, wanted)
    if not named:
        return TelemetryConfig(), warnings
    if not installed():
        return TelemetryConfig(), [
            f"the environment sets {BASE} or one like it, and what sends telemetry is not installed: nothing is sent. "
            f"Run: {INSTALL}; or set OTEL_SDK_DISABLED=true"
        ]
    if unusable := _unusable(environ):
        return TelemetryConfig(), [*warnings, f"{unusable}: nothing is sent"]
    return TelemetryConfig(named.get("traces", ""), named.get("metrics", ""), section.headers), warnings


def _unusable(environ: Mapping[str, str]) -> str:
    """Which variable the library would refuse, in a sentence; empty for none."""
    for name in _MILLISECONDS:
        value = environ.get(name, "").strip()
        if value and not (value.isdecimal() and int(value)):
            return f"the environment's {name} must be a number of milliseconds above 0"
    return ""


def _of_environment(environ: Mapping[str, str], wanted: list[str]) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    warnings = []
    for signal in wanted:
        own = _PLACES[signal]
        name = own if environ.get(own, "").strip() else BASE
        value = environ.get(name, "").strip()
        if not value:
            continue
        protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        try:
            url = collector(value)
        except ValueError:
            warnings.append(f"the environment's {name} is no http or https URL: no {signal} are sent")
            continue
        if protocol.strip() == "grpc":
            warnings.append(f"the environment asks for {signal} by grpc: the gateway sends http/protobuf only, so none")
            continue
        found[signal] = url if name == own else f"{url}/v1/{signal}"
    return found, list(dict.fromkeys(warnings))


def installed() -> bool:
    """Whether the extra is there. The library itself is not imported."""
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:
        return False


def secrets_of(section: TelemetrySection, environ: Mapping[str, str]) -> Iterator[str]:
    """The values of headers, whole and without a word such as ``Bearer`` before them: of the file and of the
    environment, there also as they are encoded.
    """
    values = list(section.headers.values())
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", *(f"OTEL_EXPORTER_OTLP_{one.upper()}_HEADERS" for one in _PLACES)):
        for part in environ.get(name, "").split(","):
            value = (part.partition("=")[2] or part).strip()
            values += [value, unquote(value)]
    for value in values:
        yield value
        yield value.rpartition(" ")[2]
