"""The shape of the configuration file, section by section, with every default, meaning and example.

Each section refuses unknown keys. A key whose value is left out (``team:``) counts as not given. The sections on
upstreams and models are in upstream_schema.py. docs/configuration.md is written from here.
"""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.config.addresses import HostPort
from gateway.config.default_schema import DEFAULT_ROUTE, DefaultModelsSection
from gateway.config.fields import (
    AdminKey,
    Boolean,
    Duration,
    FilledText,
    HostName,
    HostPattern,
    Link,
    Listen,
    ModelPattern,
    Money,
    Name,
    Network,
    Origin,
    PositiveDuration,
    ProxyUrl,
    Secret,
    Section,
    Share,
    SharedState,
    Size,
    Store,
    Text,
    Zone,
    numbered,
    whole,
)
from gateway.config.key_schema import AlertsSection, KeySection, TeamSection
from gateway.config.routing_schema import RoutingSection
from gateway.config.telemetry_schema import TelemetrySection
from gateway.config.upstream_schema import ModelSection, UpstreamSection
from gateway.config.webhook_schema import WebhookSection


class AdminSection(Section):
    """The admin listener: metrics, keys, usage, upstreams, reload. Its routes do not exist on the main listener."""

    listen: Listen = Field(
        default=HostPort("127.0.0.1", 8401),
        description="The address of the admin listener. Port 0 takes any free one.",
        examples=["127.0.0.1:9401"],
    )
    key: AdminKey | None = Field(
        default=None,
        description="What every admin route asks for as a Bearer token; at least 16 characters (`openssl rand -hex "
        "32`). Needed as soon as the admin listener is not on loopback. Left out: `$GATEWAY_ADMIN_KEY`; "
        "empty: nothing is asked for.",
        examples=["${ADMIN_KEY}"],
    )
    open_metrics: Boolean = Field(
        default=False, description="Whether `/metrics` alone is open without the admin key.", examples=["true"]
    )


class BreakerSection(Section):
    """When an endpoint that keeps failing is left alone, and for how long."""

    failures: Annotated[int, whole(1, unit="failures")] = Field(
        default=5, description="So many failures in a row eject an endpoint.", examples=["3"]
    )
    window: PositiveDuration = Field(
        default=30.0, description="An endpoint is also ejected if half of at least 20 requests in so long failed.",
        examples=["1m"],
    )  # fmt: skip
    eject: PositiveDuration = Field(
        default=10.0,
        description="How long an endpoint is left alone the first time; each further time adds as much.",
        examples=["5s"],
    )
    eject_max: PositiveDuration = Field(
        default=300.0, description="What that time grows to at most; not shorter than the first one.", examples=["2m"]
    )


class FailoverSection(Section):
    """How far a request is carried on after a failure."""

    attempts: Annotated[int, whole(1, 20, unit="attempts")] = Field(
        default=3, description="The most attempts one request may take at all upstreams together.", examples=["5"]
    )
    retry_budget: Share = Field(
        default=0.1,
        description="The most of an upstream's requests that may be retries, so that an outage is not made worse.",
        examples=["0.2"],
    )
    unknown_outcome_up_to: Money = Field(
        default=50_000_000,
        description="A paid item (an image) that may or may not have been bought is bought again, once, at another "
        "place, up to this price. 0: never.",
        examples=["0"],
    )
    breaker: BreakerSection = Field(default=BreakerSection(), description="When a failing endpoint is left alone.")


class ImagesSection(Section):
    """Results that the gateway keeps itself or fetches for the client."""

    keep: PositiveDuration = Field(default=86400.0, description="How long a kept image is served.", examples=["7d"])
    keep_max: Size = Field(
        default=1024**3,
        description="The most all kept images may take; the oldest of the key with most go first.",
        examples=["10GiB"],
    )
    dir: FilledText = Field(
        default="./images",
        description="The folder of kept images, one for all gateways of a store. Relative to this file.",
        examples=["/srv/images"],
    )
    public_url: Link = Field(
        default="",
        description="This gateway's address as others reach it, for links to kept images and for PiAPI's webhooks. "
        "Empty: links name the host that each client asked by, and there are no webhooks.",
        examples=["https://gateway.example.com"],
    )
    fetch_hosts: list[HostPattern] = Field(
        default=["*"],
        description="The hosts an image may be fetched from where the client wants its bytes; `*` is every public one. "
        "From other hosts the client gets the link instead. An upstream's own host is fetched from only if it is named "
        "here itself.",
        examples=['["*.theapi.app", "cdn.example.com"]'],
    )
    fetch_private: Boolean = Field(
        default=False,
        description="Whether links may also use http, private addresses, upstreams' hosts and any port: for tests and "
        "for storage on your own premises.",
        examples=["true"],
    )


class LimitsSection(Section):
    """What a client may send, and how much may run."""

    body: Size = Field(default=20 * 1024**2, description="The largest JSON body.", examples=["40MiB"])
    upload: Size = Field(default=50 * 1024**2, description="The largest form with files.", examples=["100MiB"])
    headers: Size = Field(
        default=32 * 1024, description="The largest request head, all headers together.", examples=["64KiB"]
    )
    event: Size = Field(
        default=32 * 1024**2,
        description="The largest event of an upstream's stream; a picture is base64 in its event.",
        examples=["64MiB"],
    )
    in_flight: Annotated[int, whole(1, unit="requests")] = Field(
        default=10_000,
        description="The most requests at once, of all keys. What comes beyond gets 503 `gateway_overloaded`.",
        examples=["500"],
    )


class ResponsesSection(Section):
    """Answers of `/v1/responses` that are kept, in the store, so that a later request may go on from one.

    They hold what people wrote: prompts and answers then lie on disk, readable by this user alone. A request with
    `store: false` keeps nothing.
    """

    store: Boolean = Field(
        default=True,
        description="Whether answers are kept at all. `false`: none is, even for a request that asks for it.",
        examples=["false"],
    )
    keep: PositiveDuration = Field(
        default=30 * 86400.0,
        description="How long one is kept after it was made, or last gone on from.",
        examples=["7d"],
    )
    keep_max: Size = Field(
        default=1024**3,
        description="The most all kept answers may take; the oldest of the key with most go first.",
        examples=["100MiB"],
    )


class JobsSection(Section):
    """Paid work (pictures, tasks) runs apart from the connections that wait for it, so that it is bought once.

    Answers are kept in the store, large ones as files in a folder `jobs` of `images.dir`, readable by this user alone.
    """

    keep: PositiveDuration = Field(
        default=3600.0,
        description="How long finished work is kept: for `/v1/jobs`, and for a re-send with the same "
        "`Idempotency-Key`.",
        examples=["24h"],
    )
    join: PositiveDuration = Field(
        default=600.0,
        description="How long after its end an equal re-send of an SDK (`x-stainless-retry-count`) gets its answer "
        "instead of buying again; at most `keep`.",
        examples=["30m"],
    )


class CorsSection(Section):
    """Web pages that may call the main listener from a browser, and read its answers.

    Without any virtual key, pages of this machine (`http://localhost:3000`) and of installed programs (`app://`,
    `tauri://`, `vscode-file://`) may as well. Cookies are never asked for. The admin listener answers no pages.
    """

    origins: list[Origin] = Field(
        default=[],
        description="Their origins, each as the browser writes it: scheme, host, port, no path. `*` is not possible.",
        examples=['["https://app.example.com", "app://obsidian.md"]'],
    )


class FluxSection(Section):
    """Names of PiAPI's Flux that are newer than the built-in catalogue."""

    extra_loras: list[Name] = Field(
        default=[], description="LoRA names that orders may use besides.", examples=["[new-style]"]
    )
    extra_controls: list[Name] = Field(
        default=[], description="ControlNet types that orders may use besides.", examples=["[scribble]"]
    )


class LogSection(Section):
    """The log. Prompts and keys are never in it."""

    format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="`json`: one object a line; `text`: lines for people; `auto`: text on a terminal, else JSON.",
        examples=["json"],
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are still written.", examples=["warning"]
    )
    file: Text = Field(
        default="",
        description="The file that lines are added to, relative to this file; made with mode 0600. It is opened again "
        "at SIGUSR1 and when another file, or none, has its name, so logrotate may do as it likes. Empty: standard "
        "error.",
        examples=["/var/log/piapi-gateway/gateway.log"],
    )


class FileSection(Section):
    """The keys at the top of the file. All of it may be left out: models, prices and hosts are built in."""

    listen: Listen = Field(
        default=HostPort("127.0.0.1", 8400),
        description="The address of the main listener: the OpenAI-shaped routes, PiAPI's task API, `/healthz`, "
        "`/readyz`. Port 0 takes any free one.",
        examples=["0.0.0.0:8400"],
    )
    hosts: list[HostName] = Field(
        default=[],
        description="Names of this machine under which both listeners may be called without a key, on any port, "
        "besides `localhost`, `*.localhost`, loopback addresses and `host.docker.internal`. Where a key is asked for, "
        "any name will do at the main listener; the admin listener goes by these names all the same.",
        examples=['["gateway.lan"]'],
    )
    cors: CorsSection = Field(default=CorsSection(), description="Web pages that may call from a browser.")
    admin: AdminSection = Field(default=AdminSection(), description="The admin listener.")
    auth: Literal["auto", "required", "none"] = Field(
        default="auto",
        description="Whether requests need a virtual key. `auto`: once there is any key, or off loopback. `none` is "
        "allowed on loopback only.",
        examples=["required"],
    )
    store: Store = Field(
        default="sqlite:///gateway.db",
        description="The ledger, keys and budgets. Three slashes: a path relative to this file (to the working "
        "directory if there is none); four: an absolute one.",
        examples=["sqlite:////srv/gateway.db"],
    )
    shared_state: SharedState = "memory://"
    workers: Annotated[int, whole(1, 1024, unit="processes")] = Field(
        default=1,
        description="Processes that serve, on one port. More than 1 need PostgreSQL and Redis: [workers](workers.md).",
        examples=["4"],
    )
    catalogue: Text = Field(
        default="",
        description="A file with models of your own, in the shape of the built-in catalogue: its `models:` add to the "
        "built-in ones or replace them, name by name, and `models` here comes on top. Relative to this file, and read "
        "again at a reload. Empty: the built-in catalogue alone.",
        examples=["./my-models.yaml"],
    )
    ca_file: FilledText | None = Field(
        default=None,
        description="A PEM file of certificate authorities that are trusted beside the system's: of a company that "
        "opens its TLS, or of servers of its own. OpenSSL's `$SSL_CERT_FILE` and `$SSL_CERT_DIR` replace the system's.",
        examples=["./company-ca.pem"],
    )
    proxy: ProxyUrl | None = Field(
        default=None,
        description="The HTTP proxy everything outside is reached through, by CONNECT: upstreams without a `proxy` of "
        "their own, hosts of images, webhooks. Perhaps with `USER:PASSWORD@`; `env` takes `$HTTPS_PROXY`, "
        "`$HTTP_PROXY` or `$ALL_PROXY`, and `$NO_PROXY`. Left out: none, whatever the environment says; images and "
        "webhooks then go through the proxy of the first upstream that has one.",
        examples=["http://proxy.example.com:3128"],
    )
    no_proxy: list[FilledText] = Field(
        default=[],
        description="Hosts that are reached without the proxy, besides an upstream's own list: a name, with everything "
        "below it, an address or a network.",
        examples=['["internal.example.com", "10.0.0.0/8"]'],
    )
    trusted_proxies: list[Network] = Field(
        default=[],
        description="The addresses of proxies before the gateway (nginx, HAProxy, a load balancer) that tell the "
        "client's address, by `X-Forwarded-For` or by the PROXY protocol: for the throttling of guesses, for logs and "
        "for the audit. From others the one is ignored, the other no HTTP.",
        examples=["[127.0.0.1, 10.0.0.0/8]"],
    )
    upstreams: dict[Name, UpstreamSection] = Field(
        default={}, description="The providers requests are bought from, by name."
    )
    models: dict[ModelPattern, ModelSection] = Field(
        default={},
        description="Models, by the name clients use, besides the built-in catalogue or in place of its entries.",
    )
    default_route: list[Name] = Field(
        default=[*DEFAULT_ROUTE],
        description="The upstreams that a chat is relayed to, in this order, if its model has no entry, in the file or "
        "built in. They are asked for the model by the name the client wrote; those without a key are left out. `[]`: "
        "such a model is refused.",
        examples=["[backup]"],
    )
    default_models: DefaultModelsSection = Field(
        default=DefaultModelsSection(), description="The model of a request that names none."
    )
    teams: dict[Name, TeamSection] = Field(default={}, description="Teams of virtual keys, by name.")
    time_zone: Zone = Field(
        default=UTC,
        description="The calendar of budgets, of `usage` and of dates without a zone.",
        examples=["Europe/Berlin"],
    )
    budget_alerts: AlertsSection = Field(
        default=AlertsSection(), description="Where budgets that are nearly used up are told."
    )
    webhooks: dict[Name, WebhookSection] = Field(
        default={}, description="Receivers that are told how jobs end, by the name that clients choose one by."
    )
    allow_unpriced: Boolean = Field(
        default=False,
        description="Whether a key with a budget may use a model whose price is unknown, while anything is left of the "
        "budget.",
        examples=["true"],
    )
    cost_in_answers: Boolean = Field(
        default=True,
        description="Whether `usage.cost` of an answer says what the key is charged for it, in US dollars. The header "
        "`x-gateway-cost-usd` says it in any case.",
        examples=["false"],
    )
    webhook_secret: Secret = Field(
        default="",
        description="What PiAPI sends with its webhooks, which hurry the polling of tasks. Needs "
        "`images.public_url`; empty: no webhooks.",
        examples=["${PIAPI_WEBHOOK_SECRET:-}"],
    )
    keys: Annotated[dict[int, KeySection], BeforeValidator(numbered)] = Field(
        default={}, description="Virtual keys kept in the file."
    )
    failover: FailoverSection = Field(default=FailoverSection(), description="How far a request is carried on.")
    routing: RoutingSection = Field(default=RoutingSection(), description="Where a request begins.")
    images: ImagesSection = Field(default=ImagesSection(), description="Kept and fetched images.")
    responses: ResponsesSection = Field(default=ResponsesSection(), description="Kept answers of the Responses API.")
    jobs: JobsSection = Field(default=JobsSection(), description="Paid work that has a life of its own.")
    nonstream_heartbeat: Duration = Field(
        default=0.0,
        description="Every so often a blank is sent before an answer that is not streamed, which keeps proxies patient "
        "but sends status 200 early. 0: never.",
        examples=["25s"],
    )
    limits: LimitsSection = Field(default=LimitsSection(), description="What a client may send, and how much may run.")
    points_per_usd: Annotated[int, whole(1, unit="points")] = Field(
        default=10_000_000, description="How many of PiAPI's points are one US dollar.", examples=["10000000"]
    )
    flux: FluxSection = Field(default=FluxSection(), description="Names newer than the built-in catalogue.")
    drain: Duration = Field(
        default=30.0, description="How long what runs may go on after SIGTERM; then it is cut off.", examples=["2m"]
    )
    drain_delay: Duration = Field(
        default=0.0,
        description="How long after SIGTERM requests are still taken, while `/readyz` already answers 503: the time a "
        "load balancer needs to notice.",
        examples=["5s"],
    )
    log: LogSection = Field(default=LogSection(), description="The log.")
    telemetry: TelemetrySection = Field(default=TelemetrySection(), description="Traces and GenAI metrics.")
