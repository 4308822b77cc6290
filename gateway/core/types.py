"""The gateway's common types, all frozen. Money is whole nano-dollars (10⁻⁹ US dollar), times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal

from gateway.core.connection_options import DIRECT, ConnectionOptions
from gateway.core.images.task_facts import TaskFacts
from gateway.core.route_rules import USUAL, RouteRules

NANO_PER_USD = 1_000_000_000

OTHER = "other"
"""The metrics label of values that are not configured."""

ANONYMOUS = "anonymous"
"""The name of the key where no key is required."""
NO_TEAM = ""
"""The metrics label of keys without a team."""

Dialect = Literal["piapi", "openai", "anthropic"]
_Relayed = Literal["responses", "embeddings", "completions", "moderations", "speech", "transcriptions", "translations"]
OperationName = Literal["chat", "messages", _Relayed, "images", "images_async", "task"]

PICTURES: frozenset[OperationName] = frozenset({"images", "images_async", "task"})
"""The operations that are bought by the piece."""

ASYNCHRONOUS: frozenset[OperationName] = frozenset({"images_async", "task"})
"""The operations whose work runs as a task of the upstream's: ordered, then asked after by its id."""

Confidence = Literal["measured", "estimated", "unknown"]
CostReason = Literal["billed", "suspected_duplicate", "unknown"]
State = Literal["settled", "released", "unknown"]


class Phase(IntEnum):
    """The stage an attempt had reached when it ended."""

    UNSENT = 0  # φ0: no byte of the request left
    REJECTED = 1  # φ1: proven rejected, nothing was done
    UNKNOWN = 2  # φ2: sent, outcome unknown
    ANSWERED = 3  # φ3: 200, nothing meaningful forwarded
    FORWARDED = 4  # φ4: content forwarded to the client


class CostClass(StrEnum):
    """The kind of cost of a request, which decides how freely it may be sent again."""

    READ = "read"
    TOKENS = "tokens"
    PAID = "paid"


class Wish(StrEnum):
    """A field that the gateway adds to a client's request for its own sake. The values are the fields' names."""

    STREAM = "stream"
    STREAM_OPTIONS = "stream_options"


NO_WISHES: frozenset[Wish] = frozenset()
ALL_WISHES: frozenset[Wish] = frozenset(Wish)


FACTOR_UNIT = 1000
"""A factor of a price is a whole number of thousandths: 2500 for two and a half times."""


@dataclass(frozen=True, slots=True)
class LongContext:
    """The surcharge on a whole request whose input is long.

    ``above``: tokens of input, cached ones included, up to which it does not apply.
    ``input``, ``output``: the factors of all input and of all output, in thousandths.
    """

    above: int
    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a target. Token prices are nano-dollars per 1,000,000 tokens, the others nano-dollars apiece.

    ``cached_input``, ``image_input``, ``audio_input``: parts of the input; None counts as ``input``.
    ``cache_write``: input that the provider wrote into its cache; None counts as ``input``.
    ``image_output``, ``audio_output``: parts of the output; None counts as ``output``.
    ``call``: a call of what is not counted in tokens, such as a web search; ``characters``: 1,000,000 characters of a
        text that is read aloud; ``seconds``: a second of a recording.
    ``long``: None for a model whose long requests cost no more.
    ``tiers``: service tier → the factor of all token prices in thousandths.
    ``estimated``: the amounts are a bound or a guess, so that nothing booked by them is ``measured``.
    ``image``: an answer with at least one image (or, for tasks, each image).
    ``no_image``: an answer without.
    ``table``: quality → size → nano-dollars an image.
    ``picture_tokens``: quality → the factor of OpenAI's formula for the output tokens of an image
        (core/pricing/picture_tokens.py), where images are billed by tokens.
    ``minimum``: nano-dollars a request that succeeded costs at least.
    ``dearest_read``, ``dearest_output``: the highest price of any kind of token that is read, or made; worked out once
        for all bounds. ``listed_tiers``: ``tiers`` with their names in lower case.

    None means unknown, 0 means free.
    """

    input: int | None = None
    cached_input: int | None = None
    output: int | None = None
    image_input: int | None = None
    image: int | None = None
    no_image: int | None = None
    table: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    picture_tokens: Mapping[str, int] = field(default_factory=dict)
    minimum: int = 0
    cache_write: int | None = None
    image_output: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    call: int | None = None
    characters: int | None = None
    seconds: int | None = None
    long: LongContext | None = None
    tiers: Mapping[str, int] = field(default_factory=dict)
    estimated: bool = False
    dearest_read: int = field(init=False, repr=False, compare=False)
    dearest_output: int = field(init=False, repr=False, compare=False)
    listed_tiers: Mapping[str | None, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        read = (self.input, self.cached_input, self.image_input, self.audio_input)
        written = (self.output, self.image_output, self.audio_output)
        object.__setattr__(self, "dearest_read", max(each or 0 for each in read))
        object.__setattr__(self, "dearest_output", max(each or 0 for each in written))
        object.__setattr__(self, "listed_tiers", {name.strip().lower(): each for name, each in self.tiers.items()})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host of an upstream.

    ``base_path``: has no trailing slash.
    ``wall``: seconds of silence after which this host gives up on an answer; None if it does not.
    ``options``: how connections to it are made.
    """

    url: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    base_path: str = ""
    wall: float | None = None
    options: ConnectionOptions = DIRECT


@dataclass(frozen=True, slots=True)
class Credential:
    """One key of an upstream's pool.

    ``name``: may be shown.
    ``value``: the secret; never shown.
    ``weight``: the key's share of the load relative to the other keys.
    ``max_parallel``: requests at once; None for any number.
    """

    name: str
    value: str = field(repr=False)
    weight: int = 1
    max_parallel: int | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of an upstream, in seconds. ``head``, ``content`` and ``idle`` apply to token-billed chat only."""

    connect: float = 5.0
    head: float = 30.0
    content: float = 60.0
    idle: float = 60.0
    total: float = 600.0
    stream_total: float = 1800.0


@dataclass(frozen=True, slots=True)
class TaskTimes:
    """The task API's polling, in seconds."""

    poll: float = 2.0
    poll_max: float = 15.0
    deadline: float = 1800.0


STEERING_FIELDS = ("models", "provider", "route", "fallbacks", "plugins", "api_key", "api_base", "base_url")
"""Fields of a request by which some upstreams choose another model, place or key than they were asked for."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider: its hosts in the order to be tried, and its pool of keys.

    ``pass_fields``: those of ``STEERING_FIELDS`` that it gets.
    """

    name: str
    dialect: Dialect
    endpoints: tuple[Endpoint, ...]
    credentials: tuple[Credential, ...]
    timeouts: Timeouts = Timeouts()
    tasks: TaskTimes = TaskTimes()
    pass_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rewrites:
    """What one target gets otherwise than the client sent it: top-level fields of a chat.

    ``renames``: old and new names.
    ``drops``: what is left out.
    """

    renames: tuple[tuple[str, str], ...] = ()
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream and a model there, which can serve a route.

    ``price``: None if unknown.
    ``cost_class``: PAID for images and tasks, however they travel; TOKENS for work billed by usage: by tokens, by
        characters, by seconds.
    ``tasks``: task type → its facts, for a task model that the catalogue or the configuration describes; empty for
        Flux, whose facts are one catalogue of their own.
    ``shutdown``, ``ends_ns``: the last day on which it is asked (``2027-01-14``), and when that day is over in UTC, in
        Unix nanoseconds; empty and None for no end that is known.
    ``successor``: the model that is to be asked instead; empty where none is known.
    ``rewrites``: only where the configuration says so.
    """

    upstream: Upstream
    model: str
    operation: OperationName = "chat"
    price: Price | None = None
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict, repr=False)
    shutdown: str = ""
    ends_ns: int | None = None
    successor: str = ""
    rewrites: Rewrites | None = None
    cost_class: CostClass = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        paid = self.operation in PICTURES or (self.price is not None and self.price.image is not None)
        object.__setattr__(self, "cost_class", CostClass.PAID if paid else CostClass.TOKENS)


@dataclass(frozen=True, slots=True)
class Route:
    """A model as clients name it (``*`` may end it) and its targets in order.

    ``max_output``: tokens the model can write at most in one choice; ``context``: those that it takes in and writes
        together; None if that is not known.
    ``asked``: the name that a client asked for, if ``model`` is a pattern; else empty.
    ``aliases``: other names by which clients ask for it. ``ended``: targets left out since their last day is over.
    ``named``: the model itself, for clients and books; metrics have ``model``, as configured. ``operations``: of its
        targets.
    """

    model: str
    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()
    max_output: int | None = None
    asked: str = ""
    aliases: tuple[str, ...] = ()
    ended: tuple[Target, ...] = ()
    context: int | None = None
    rules: RouteRules = USUAL
    named: str = field(init=False, repr=False, compare=False)
    operations: frozenset[OperationName] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", self.asked or self.model)
        object.__setattr__(self, "operations", frozenset([target.operation for target in self.targets]))


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount that a key or team may spend in one period.

    ``amount``: nano-dollars.
    """

    amount: int
    period: Literal["day", "week", "month", "total"]


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A team member's key, issued by this gateway.

    ``digest``: SHA-256 of the key; the key itself is not kept.
    ``models``: patterns of the models it may use.
    ``rpm``, ``tpm``, ``parallel``: requests and tokens a minute, requests at once; None for no limit.
    ``team``, ``budget``: None for none.
    ``model_budgets``: pattern → the budget of the models it matches; other models it does not concern.
    ``alert``: the percentages of its budgets that raise an alert; empty for the usual ones.
    """

    name: str
    digest: bytes = field(repr=False, default=b"")
    team: str | None = None
    models: tuple[str, ...] = ("*",)
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    budget: Budget | None = None
    model_budgets: tuple[tuple[str, Budget], ...] = ()
    alert: tuple[int, ...] = ()


@dataclass(slots=True, unsafe_hash=True)
class Usage:
    """The tokens and images of an answer. Made anew for each, so not frozen (decision 004), and never changed.

    ``input_tokens``: all input as OpenAI counts: cached, written to the cache, and of images and audio sent in.
    ``output_tokens``: all output as it is billed: reasoning, images and audio too.
    ``reasoning_tokens``: the part of the output that no client sees; it has no price of its own.
    ``calls``: of what is not counted in tokens, such as web searches.
    ``cache_write_hour_tokens``, ``cache_write_12h_tokens``: the parts of ``cache_write_tokens`` that are kept for an
        hour (Anthropic) and for twelve (OpenAI), which cost more.
    ``characters``: of a text that was read aloud. ``audio_milliseconds``: of a recording that was listened to.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    confidence: Confidence = "measured"
    image_input_tokens: int = 0
    cache_write_tokens: int = 0
    image_output_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    reasoning_tokens: int = 0
    calls: int = 0
    cache_write_hour_tokens: int = 0
    cache_write_12h_tokens: int = 0
    characters: int = 0
    audio_milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    ``slug``: ``ok`` or a name of the fault catalogue (core/outcomes/table.py).
    ``status``: the upstream's HTTP status; None if none came.
    ``retry_after``: seconds the upstream asked for; None if it asked for none.
    ``message``, ``type``, ``param``, ``code``: the upstream's own error, sanitised, shown to the client only for
        outcomes whose rule passes them on.
    ``detail``: a description for the operator's log.
    ``wish``: what the gateway asked for of its own accord and was refused; only with the slug ``wish_refused``.
    """

    slug: str
    phase: Phase
    status: int | None = None
    retry_after: float | None = None
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None
    detail: str = ""
    wish: Wish | None = None
    ok: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", self.slug == "ok")


@dataclass(frozen=True, slots=True)
class FailoverPolicy:
    """The settings of failover. Times are seconds.

    ``attempts``: the most attempts of one exchange that sent anything.
    ``retry_budget``: retries at an upstream as a share of its requests.
    ``unknown_outcome_up_to``: nano-dollars up to which a paid request of unknown outcome may be sent once more.
    ``breaker_failures``: failures in a row that open a breaker.
    ``breaker_window``: how far back a breaker looks.
    ``eject``, ``eject_max``: how long the first ejection lasts, and the longest.
    """

    attempts: int = 3
    retry_budget: float = 0.1
    unknown_outcome_up_to: int = 50_000_000
    breaker_failures: int = 5
    breaker_window: float = 30.0
    eject: float = 10.0
    eject_max: float = 300.0
