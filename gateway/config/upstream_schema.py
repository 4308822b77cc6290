"""The shape of the file's sections on upstreams and models, with every default, meaning and example."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.config.fields import (
    Boolean,
    Day,
    EndpointUrl,
    Factor,
    FieldName,
    FieldNames,
    FilledText,
    ModelPattern,
    Money,
    Name,
    PositiveDuration,
    ProxyUrl,
    Secret,
    Section,
    TokenPrice,
    whole,
)
from gateway.config.routing_schema import CacheSection, ModelRoutingSection
from gateway.config.task_schema import TaskTypeSection
from gateway.core.connection_options import MAX_AGE
from gateway.core.types import Dialect, OperationName, TaskTimes, Timeouts

MOST_CONTEXT = 1_000_000_000
"""Tokens: the largest ``context`` accepted."""

MOST_OUTPUT = 10_000_000
"""Tokens: the highest ``max_output`` accepted; no model comes near it."""

SteeringField = Literal["models", "provider", "route", "fallbacks", "plugins", "api_key", "api_base", "base_url"]

_TIMEOUTS = Timeouts()
_TASK_TIMES = TaskTimes()


class EndpointSection(Section):
    """One host of an upstream. Hosts are tried in the order they are listed."""

    url: EndpointUrl = Field(
        description="Where the host is. A final `/v1` may be there or not; a route behind it is an error.",
        examples=["https://api.piapi.ai"],
    )
    wall: PositiveDuration | None = Field(
        default=None,
        description="Silence after which this host is known to give up on an answer (Cloudflare's 120 s). A request "
        "that has heard nothing for so long goes to the next host. Left out: no such limit.",
        examples=["120s"],
    )


class PoolKeySection(Section):
    """One key of an upstream's pool. A bare text is its value; an entry whose value is empty is left out."""

    name: Name | None = Field(
        default=None,
        description="What logs, metrics and `status` call the key. Left out: `key-1`, `key-2`, … by position.",
        examples=["second"],
    )
    value: Secret = Field(description="The key itself.", examples=['"${PIAPI_API_KEY_2:-}"'])
    weight: Annotated[int, whole(1, 1000)] = Field(
        default=1, description="The key's share of the work beside the other keys of the pool.", examples=["2"]
    )
    max_parallel: Annotated[int, whole(1, unit="requests")] | None = Field(
        default=None,
        description="The most requests that may use the key at once. Left out: any number.",
        examples=["10"],
    )

    @classmethod
    def unfold(cls, data: Any) -> Any:
        return data if data is None or isinstance(data, dict | list) else {"value": data}


class TimeoutsSection(Section):
    """How long one attempt may wait. The limits on head, content and idle bind chat billed by tokens only."""

    connect: PositiveDuration = Field(
        default=_TIMEOUTS.connect,
        description="The longest a connection may take to open, TLS included.",
        examples=["3s"],
    )
    head: PositiveDuration = Field(
        default=_TIMEOUTS.head,
        description="The longest wait for the head of an answer; then the next host.",
        examples=["45s"],
    )
    content: PositiveDuration = Field(
        default=_TIMEOUTS.content,
        description="The longest wait for the first content after the head; then the next host.",
        examples=["90s"],
    )
    idle: PositiveDuration = Field(
        default=_TIMEOUTS.idle,
        description="The longest silence within an answer's content; then the client gets an error event.",
        examples=["30s"],
    )
    total: PositiveDuration = Field(
        default=_TIMEOUTS.total,
        description="The deadline of a whole answer, all attempts together. Tasks have their own where it is later.",
        examples=["15m"],
    )
    stream_total: PositiveDuration = Field(
        default=_TIMEOUTS.stream_total,
        description="The deadline of a streamed chat billed by tokens, all attempts together.",
        examples=["1h"],
    )


class TasksSection(Section):
    """How an asynchronous task (Flux) is waited for."""

    poll: PositiveDuration = Field(
        default=_TASK_TIMES.poll, description="The wait before a task is first asked for.", examples=["1s"]
    )
    poll_max: PositiveDuration = Field(
        default=_TASK_TIMES.poll_max,
        description="What the wait between two polls grows to; not shorter than the first one.",
        examples=["30s"],
    )
    deadline: PositiveDuration = Field(
        default=_TASK_TIMES.deadline,
        description="How long a task is waited for. After it the client gets 504 and the ledger keeps the task's id.",
        examples=["10m"],
    )


class UpstreamSection(Section):
    """A provider: its hosts and its pool of keys. What is left out of `piapi` and `backup` stays as it is built in;
    an upstream of another name needs its dialect, its endpoints and its keys.
    """

    dialect: Dialect | None = Field(
        default=None,
        description="The API the upstream speaks. `piapi` has tasks and the account's balance besides OpenAI's routes; "
        "`anthropic` is Anthropic's Messages API, which `/v1/messages` is relayed to. Built in: `piapi` is piapi, "
        "`backup` is openai.",
        examples=["openai"],
    )
    endpoints: Annotated[list[EndpointSection], Field(min_length=1)] | None = Field(
        default=None,
        description="The hosts, tried in this order. Built in: `piapi` has `https://api.piapi.ai` (wall 120 s) and "
        "`https://proxy.piapi.ai`, `backup` has `$BACKUP_BASE_URL` or `https://api.openai.com`.",
    )
    keys: list[PoolKeySection] | None = Field(
        default=None,
        description="The pool, shared by all requests: weighted, the least loaded first. A pool left with no key "
        "switches the upstream off. Built in: `$PIAPI_API_KEY` and `$PIAPI_API_KEY_2` to `$PIAPI_API_KEY_8`; "
        "`$BACKUP_API_KEY`.",
    )
    timeouts: TimeoutsSection | None = Field(default=None, description="How long one attempt may wait.")
    tasks: TasksSection | None = Field(default=None, description="How an asynchronous task is waited for.")
    proxy: ProxyUrl | None = Field(
        default=None,
        description="The HTTP proxy its hosts are reached through, as the file's own `proxy`; `none` for none. Left "
        "out: that one.",
        examples=["http://proxy.example.com:3128"],
    )
    no_proxy: list[FilledText] = Field(
        default=[],
        description="Hosts of it that are reached without the proxy: a name, with everything below it, an address or a "
        "network.",
        examples=["[internal.example.com]"],
    )
    ca_file: FilledText | None = Field(
        default=None,
        description="A PEM file of certificate authorities that this upstream's hosts are trusted by, beside the "
        "system's and the file's own `ca_file`.",
        examples=["./company-ca.pem"],
    )
    client_cert: FilledText | None = Field(
        default=None,
        description="A PEM file of the certificate this gateway shows to the upstream; it may hold the key as well.",
        examples=["./gateway.pem"],
    )
    client_key: FilledText | None = Field(
        default=None, description="The PEM file of that certificate's key, without a passphrase.",
        examples=["./gateway.key"],
    )  # fmt: skip
    max_age: PositiveDuration = Field(
        default=MAX_AGE,
        description="How long a connection is used before a new one is made, so that a host that moves is followed.",
        examples=["1m"],
    )
    pass_fields: list[SteeringField] = Field(
        default=[],
        description="Fields of a chat by which a client may choose another model, place or key *at this upstream*; "
        "the others of these are left out and named in `x-gateway-note`. What such a choice costs cannot be known "
        "before.",
        examples=["[provider, models]"],
    )


class LongContextSection(Section):
    """The surcharge on a whole request whose input is long."""

    above: Annotated[int, whole(1, unit="tokens")] = Field(
        description="The tokens of input, cached ones included, up to which it does not apply.", examples=["272000"]
    )
    input: Factor | None = Field(
        default=None, description="How many times all input costs then. Left out: once.", examples=["2"]
    )
    output: Factor | None = Field(
        default=None, description="How many times all output costs then. Left out: once.", examples=["1.5"]
    )


class PriceSection(Section):
    """What a target costs. A price without any field but a minimum counts as unknown; a field left out is unknown,
    0 is free. Left out as a whole: the built-in price of the same upstream, model and operation.
    """

    input: TokenPrice | None = Field(default=None, description="Tokens sent to the model.", examples=["1.875"])
    cached_input: TokenPrice | None = Field(
        default=None, description="Input the provider had cached. Left out: it counts as input.", examples=["1.25"]
    )
    output: TokenPrice | None = Field(default=None, description="Tokens the model writes.", examples=["7.50"])
    image_input: TokenPrice | None = Field(
        default=None, description="Tokens of images sent in. Left out: they count as input.", examples=["10"]
    )
    image: Money | None = Field(
        default=None,
        description="An answer with at least one image, however many; of a task, each image. A target with this price "
        "is a paid item: it is not simply bought again when its outcome is unknown.",
        examples=["0.02"],
    )
    no_image: Money | None = Field(
        default=None, description="An answer of such a target that holds no image.", examples=["0.00066"]
    )
    table: dict[str, dict[str, Money]] = Field(
        default={},
        description="The price of an image by quality and size, where the answer names no usage.",
        examples=["{low: {1024x1024: 0.011, 1024x1536: 0.016}}"],
    )
    picture_tokens: dict[str, Annotated[int, whole(1, 1000)]] = Field(
        default={},
        description="For pictures billed by tokens: the factor of each quality in OpenAI's formula for the tokens of a "
        "picture. A budget reserves by the dearest, at least by 96; a bill that was not told is estimated by its own.",
        examples=["{low: 16, medium: 24, high: 48, xhigh: 64, max: 96}"],
    )
    minimum: Money = Field(default=0, description="What a request that succeeded costs at least.", examples=["0.0001"])
    cache_write: TokenPrice | None = Field(
        default=None,
        description="Input the provider wrote into its cache. Left out: it counts as input.",
        examples=["2.50"],
    )
    image_output: TokenPrice | None = Field(
        default=None, description="Tokens of images the model makes. Left out: they count as output.", examples=["30"]
    )
    audio_input: TokenPrice | None = Field(
        default=None, description="Tokens of audio sent in. Left out: they count as input.", examples=["32"]
    )
    audio_output: TokenPrice | None = Field(
        default=None, description="Tokens of audio the model makes. Left out: they count as output.", examples=["64"]
    )
    call: Money | None = Field(
        default=None, description="A call of what is not counted in tokens, such as a web search.", examples=["0.01"]
    )
    characters: TokenPrice | None = Field(
        default=None, description="1,000,000 characters of a text that is read aloud (`speech`).", examples=["15"]
    )
    seconds: Money | None = Field(
        default=None,
        description="A second of a recording that is listened to (`transcriptions`, `translations`).",
        examples=["0.0001"],
    )
    long: LongContextSection | None = Field(
        default=None,
        description="What a whole request costs above so many tokens of input. Left out: the same.",
        examples=["{above: 272000, input: 2, output: 1.5}"],
    )
    tiers: dict[FilledText, Factor] = Field(
        default={},
        description="How many times all tokens cost in a service tier: the one the answer names, else the one that was "
        "asked for. `default` and `auto` are 1. A tier that is not listed costs as the dearest.",
        examples=["{flex: 0.5, fast: 2, priority: 2, ultrafast: 6}"],
    )
    estimated: Boolean = Field(
        default=False,
        description="Whether the amounts are a bound or a guess: what is booked by them is then never `measured`.",
        examples=["true"],
    )


class TargetSection(Section):
    """One way to serve a model. Targets are tried in the order they are listed."""

    upstream: FilledText = Field(description="The name of the upstream that is asked.", examples=["backup"])
    model: ModelPattern | None = Field(
        default=None,
        description="What the model is called there; a final `*` stands for what the model's own `*` stood for. "
        "Left out: the same name.",
        examples=["gpt-image-1"],
    )
    operation: OperationName = Field(
        default="chat",
        description="How it is bought there: a chat completion, a request to the route of the same name (`responses`, "
        "`embeddings`, `completions`, `moderations`, `speech`, `transcriptions`, `translations`), a request to the "
        "Images API, an order to PiAPI's asynchronous GPT-image routes, or a PiAPI task. At an upstream of the dialect "
        "`anthropic` it is always `messages`, written or not.",
        examples=["images"],
    )
    price: PriceSection | None = Field(default=None, description="What it costs there.")
    tasks: dict[Name, TaskTypeSection] | None = Field(
        default=None,
        description="The task types of a task model other than Flux, by PiAPI's names. The first that fits the order "
        "is taken, unless the client names one as `task_type`. Left out: the built-in ones of the same upstream and "
        "model.",
    )
    shutdown: Day | None = Field(
        default=None,
        description="The last day, in UTC, on which it is asked; after it the target is skipped, and a model without "
        "any other is answered 404. `check` and the log warn 30 days ahead. Left out: no end is known.",
        examples=['"2027-01-14"'],
    )
    successor: FilledText | None = Field(
        default=None,
        description="The model its provider names instead. Clients and warnings are told; it is never asked by itself.",
        examples=["gpt-6-luna"],
    )
    rewrites: dict[FieldName, FieldNames] | None = Field(
        default=None,
        description="Top-level fields of a chat that this target gets under another name, and under `drop` those that "
        "it does not get; `x-gateway-note` tells the client what was done. If the new name is there as well, that one "
        "stays. Not `model`, `messages`, `stream`, `stream_options`, `n`. Left out: the request goes there as it came.",
        examples=["{max_tokens: max_completion_tokens, drop: [stop]}"],
    )
    source: FilledText | None = Field(
        default=None,
        description="Where the price was found, for people; `models --format json` shows it.",
        examples=["list"],
    )
    confidence: Literal["high", "medium", "low"] | None = Field(
        default=None,
        description="How sure that is: `high` if the provider's own page, SDK or repository says so, `low` if it is a "
        "guess. What is booked by a price that is `low` is never `measured`, unless the provider itself names the "
        "cost. `models --format json` shows it.",
        examples=["medium"],
    )
    as_of: FilledText | None = Field(
        default=None,
        description="When the price was found, for people; `models --format json` shows it.",
        examples=['"2026-11-22"'],
    )


class ModelSection(Section):
    """A model as clients name it; a final `*` in the name stands for any ending. An entry adds to the built-in
    catalogue, or replaces all targets of the built-in model of that name.
    """

    targets: Annotated[list[TargetSection], Field(min_length=1)] = Field(
        default=[],
        description="The ways to serve the model, tried in this order. Left out: those of the built-in model.",
    )
    routing: ModelRoutingSection = Field(default=ModelRoutingSection(), description="Where its requests begin.")
    cache: CacheSection | None = Field(
        default=None,
        description="Answers that are kept for equal requests. Left out: none are.",
        examples=["{ttl: 1h, max: 64MiB}"],
    )
    aliases: list[FilledText] | None = Field(
        default=None,
        description="Other names by which clients ask for the model. A model of such a name comes first.",
        examples=["[our-painter]"],
    )
    notes: list[FilledText] | None = Field(
        default=None,
        description="Remarks that the `models` command shows beside the model.",
        examples=['["ours, fine-tuned"]'],
    )
    plan: FilledText | None = Field(
        default=None,
        description="The PiAPI plan the model needs, as `models` shows it.",
        examples=["Creator Plan or above"],
    )
    context: Annotated[int, whole(1, MOST_CONTEXT, unit="tokens")] | None = Field(
        default=None,
        description="The model's context window, input and output together; of a request's input no more than that is "
        "reserved or charged, and all of it where a request may fetch what is not in its bytes. Left out: what the "
        "built-in catalogue says of the model or its targets; if that is nothing, 2000000 are reserved at most.",
        examples=["128000"],
    )
    max_output: Annotated[int, whole(1, MOST_OUTPUT, unit="tokens")] | None = Field(
        default=None,
        description="The most the model can write in one choice; a budget reserves for so many. Left out: what the "
        "built-in catalogue says of the model or its targets.",
        examples=["16384"],
    )
