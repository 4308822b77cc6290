"""The shape of the configuration file, section by section, with every default.

Each section refuses unknown keys. A key whose value is left out (``team:``) counts as not given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from gateway.config import addresses, values
from gateway.config.addresses import HostPort
from gateway.core.types import Budget, Endpoint, TaskTimes, Timeouts

Text = Annotated[str, PlainValidator(values.text)]
FilledText = Annotated[str, PlainValidator(values.filled_text)]
Boolean = Annotated[bool, PlainValidator(values.boolean)]
Name = Annotated[str, PlainValidator(values.name)]
Secret = Annotated[str, PlainValidator(values.secret)]
Money = Annotated[int, PlainValidator(values.money)]
Share = Annotated[float, PlainValidator(values.share)]
Amount = Annotated[Budget, PlainValidator(values.budget)]
Duration = Annotated[float, PlainValidator(values.duration)]
PositiveDuration = Annotated[float, PlainValidator(values.positive_duration)]
Size = Annotated[int, PlainValidator(values.size)]
Positive = Annotated[int, PlainValidator(values.whole_number(1))]
ModelPattern = Annotated[str, PlainValidator(values.model_pattern)]
Zone = Annotated[tzinfo, PlainValidator(values.time_zone)]
Listen = Annotated[HostPort, PlainValidator(addresses.host_port)]
EndpointUrl = Annotated[Endpoint, PlainValidator(addresses.endpoint)]
Link = Annotated[str, PlainValidator(addresses.link)]
HostPattern = Annotated[str, PlainValidator(addresses.host_pattern)]
Store = Annotated[str, PlainValidator(addresses.store)]
SharedState = Annotated[str, PlainValidator(addresses.shared_state)]


MOST_OUTPUT = 10_000_000
"""Tokens: the highest ``max_output`` accepted; no model comes near it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The stand-in for the value of an unknown key, so that the error can name the known ones.

    ``known``: the section's keys.
    """

    known: tuple[str, ...]


class Section(BaseModel):
    """The base class of all sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)

    def __repr__(self) -> str:
        """Without the values: some are secrets."""
        return f"<{type(self).__name__}>"

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, data: Any) -> Any:
        data = cls.unfold(data)
        if not isinstance(data, dict):
            return data
        known = tuple(cls.model_fields)
        return {
            key: value if key in known else Unknown(known)
            for key, value in data.items()
            if value is not None or key not in known
        }

    @classmethod
    def unfold(cls, data: Any) -> Any:
        """A section's short spelling → the long one."""
        return data


class AdminSection(Section):
    listen: Listen = HostPort("127.0.0.1", 8401)
    key: Secret | None = None
    open_metrics: Boolean = False


class EndpointSection(Section):
    url: EndpointUrl
    wall: PositiveDuration | None = None


class PoolKeySection(Section):
    """One key of an upstream's pool; a bare text is its value."""

    name: Name | None = None
    value: Secret
    weight: Annotated[int, PlainValidator(values.whole_number(1, 1000))] = 1
    max_parallel: Positive | None = None

    @classmethod
    def unfold(cls, data: Any) -> Any:
        return data if data is None or isinstance(data, dict | list) else {"value": data}


_TIMEOUTS = Timeouts()
_TASK_TIMES = TaskTimes()


class TimeoutsSection(Section):
    connect: PositiveDuration = _TIMEOUTS.connect
    head: PositiveDuration = _TIMEOUTS.head
    content: PositiveDuration = _TIMEOUTS.content
    idle: PositiveDuration = _TIMEOUTS.idle
    total: PositiveDuration = _TIMEOUTS.total
    stream_total: PositiveDuration = _TIMEOUTS.stream_total


class TasksSection(Section):
    poll: PositiveDuration = _TASK_TIMES.poll
    poll_max: PositiveDuration = _TASK_TIMES.poll_max
    deadline: PositiveDuration = _TASK_TIMES.deadline


class UpstreamSection(Section):
    """An upstream. What is left out comes from the built-in upstream of that name."""

    dialect: Literal["piapi", "openai"] | None = None
    endpoints: Annotated[list[EndpointSection], Field(min_length=1)] | None = None
    keys: list[PoolKeySection] | None = None
    timeouts: TimeoutsSection | None = None
    tasks: TasksSection | None = None


class PriceSection(Section):
    """A target's price in US dollars: per 1M tokens, an answer or image, or (``minimum``) a request."""

    input: Money | None = None
    cached_input: Money | None = None
    output: Money | None = None
    image_input: Money | None = None
    image: Money | None = None
    no_image: Money | None = None
    table: dict[str, dict[str, Money]] = {}
    minimum: Money = 0


class TargetSection(Section):
    """A target of a model.

    ``source``, ``as_of``: where the built-in catalogue has the price from, and when it was read.
    """

    upstream: FilledText
    model: ModelPattern | None = None
    operation: Literal["chat", "images", "task"] = "chat"
    price: PriceSection | None = None
    source: FilledText | None = None
    as_of: FilledText | None = None


class ModelSection(Section):
    """A model as clients name it.

    ``max_output``: tokens the model can write at most in one choice; what a budget reserves for.
    """

    targets: Annotated[list[TargetSection], Field(min_length=1)]
    notes: list[FilledText] | None = None
    plan: FilledText | None = None
    max_output: Annotated[int, PlainValidator(values.whole_number(1, MOST_OUTPUT))] | None = None


class TeamSection(Section):
    budget: Amount | None = None


class AlertsSection(Section):
    webhook: Link = ""
    secret: Secret = ""


class KeySection(Section):
    """A virtual key kept in the file."""

    name: Name
    key: Secret
    team: FilledText | None = None
    budget: Amount | None = None
    rpm: Positive | None = None
    tpm: Positive | None = None
    parallel: Positive | None = None
    models: Annotated[list[ModelPattern], Field(min_length=1)] = ["*"]


class BreakerSection(Section):
    failures: Positive = 5
    window: PositiveDuration = 30.0
    eject: PositiveDuration = 10.0
    eject_max: PositiveDuration = 300.0


class FailoverSection(Section):
    attempts: Annotated[int, PlainValidator(values.whole_number(1, 20))] = 3
    retry_budget: Share = 0.1
    unknown_outcome_up_to: Money = 50_000_000
    breaker: BreakerSection = BreakerSection()


class ImagesSection(Section):
    keep: PositiveDuration = 86400.0
    keep_max: Size = 1024**3
    dir: FilledText = "./images"
    public_url: Link = ""
    fetch_hosts: list[HostPattern] = ["*.theapi.app", "*.filesystem.site", "videos.openai.com"]
    fetch_private: Boolean = False


class LimitsSection(Section):
    body: Size = 20 * 1024**2
    upload: Size = 50 * 1024**2
    headers: Size = 32 * 1024
    in_flight: Positive = 10_000


class FluxSection(Section):
    extra_loras: list[Name] = []
    extra_controls: list[Name] = []


class LogSection(Section):
    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


def numbered(value: Any) -> Any:
    """A list → a mapping by index: an error still says ``keys[1]``, and one entry can be left out without a shift."""
    if isinstance(value, dict) and all(isinstance(index, int) for index in value):
        return value  # numbered already
    if not isinstance(value, list):
        raise ValueError("expected a list, such as [{name: alice, key: …}]")
    return dict(enumerate(value))


class FileSection(Section):
    """The whole file."""

    listen: Listen = HostPort("127.0.0.1", 8400)
    admin: AdminSection = AdminSection()
    auth: Literal["auto", "required", "none"] = "auto"
    store: Store = "sqlite:///gateway.db"
    shared_state: SharedState = "memory://"
    workers: Annotated[int, PlainValidator(values.whole_number(1, 1024))] = 1
    upstreams: dict[Name, UpstreamSection] = {}
    models: dict[ModelPattern, ModelSection] = {}
    teams: dict[Name, TeamSection] = {}
    time_zone: Zone = UTC
    budget_alerts: AlertsSection = AlertsSection()
    allow_unpriced: Boolean = False
    webhook_secret: Secret = ""
    keys: Annotated[dict[int, KeySection], BeforeValidator(numbered)] = {}
    failover: FailoverSection = FailoverSection()
    images: ImagesSection = ImagesSection()
    nonstream_heartbeat: Duration = 0.0
    limits: LimitsSection = LimitsSection()
    points_per_usd: Positive = 10_000_000
    flux: FluxSection = FluxSection()
    drain: Duration = 30.0
    log: LogSection = LogSection()
