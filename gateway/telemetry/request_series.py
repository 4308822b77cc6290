"""What requests count in: the metrics of finished requests, and the series of each kind of request, looked up once.

Requests of one route, model, upstream, key and team count in the same few series. They are kept together, so that a
request looks up one thing instead of ten.
"""

from __future__ import annotations

from functools import partial

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.types import NO_TEAM, OTHER, CostReason, Usage
from gateway.telemetry.series import Count, Distribution, Family, Labels, LabelSpace, S, known

DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600, 900)
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120)
OVERHEAD_BUCKETS = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

MOST_KINDS = 2_000
"""Kinds of requests whose series are kept at hand; beyond, all are looked up again. There are as many as combinations
of configured routes, models, upstreams and keys that are in use."""

_OWNER = ("key", "team", "model", "upstream")


class _Kind:
    """The series of one kind of request. Those that it has not needed yet, or has none of its own in, are None.

    ``names``: the labels: route, model, upstream, key, team. ``of_status``: by the status. ``owed``: by upstream and
    reason.
    """

    __slots__ = (
        *("cached_input", "cost", "duration", "first_token", "images", "input", "names", "of_status", "output"),
        *("overhead", "owed"),
    )

    def __init__(self, names: tuple[str, str, str, str, str]) -> None:
        self.names = names
        self.of_status: dict[int, Count] = {}
        self.owed: dict[tuple[str, CostReason], Count] = {}
        self.cost: Count | None = None
        self.input: Count | None = None
        self.cached_input: Count | None = None
        self.output: Count | None = None
        self.images: Count | None = None
        self.duration: Distribution | None = None
        self.first_token: Distribution | None = None
        self.overhead: Distribution | None = None

    @property
    def owner(self) -> tuple[str, str, str, str]:
        _, model, upstream, key, team = self.names
        return key, team, model, upstream

    def keep(self, place: str, family: Family[S], labels: Labels) -> S:
        """The series of these labels; kept at ``place`` unless it is that of many labels for want of room."""
        found = family.of(labels)
        if family.has(labels):
            setattr(self, place, found)
        return found


class RequestSeries:
    """The metrics of finished requests. To be called from the event loop's thread only."""

    def __init__(self) -> None:
        counts = partial(Family[Count], make=Count)
        self.requests = counts(
            "gateway_requests_total",
            "Requests answered or refused; route is `other` where there is none. Of health checks and on the admin "
            "listener only refusals count.",
            ("route", "model", "upstream", "status", "key", "team"),
        )
        self.cost = counts("gateway_cost_usd_total", "What the keys are charged, in US dollars.", _OWNER, nano=True)
        self.upstream_cost = counts(
            "gateway_upstream_cost_usd_total",
            "What is owed upstream, in US dollars.",
            ("upstream", "model", "reason"),
            kept=1,
            nano=True,
        )
        self.tokens = counts(
            "gateway_tokens_total", "Tokens charged for; input includes cached_input.", (*_OWNER, "type"), kept=1
        )
        self.images = counts("gateway_images_total", "Images charged for.", _OWNER)
        self.unpriced = counts(
            "gateway_unpriced_requests_total", "Requests served at no known price; their cost is not counted.", _OWNER
        )
        self.unpriced_tokens = counts(
            "gateway_unpriced_tokens_total",
            "Tokens of requests served at no known price; input includes cached_input.",
            (*_OWNER, "type"),
            kept=1,
        )
        self.duration = Family(
            "gateway_request_duration_seconds",
            "Seconds from a request's arrival to its end.",
            ("route", "model", "upstream"),
            partial(Distribution, DURATION_BUCKETS),
        )
        self.first_token = Family(
            "gateway_time_to_first_token_seconds",
            "Seconds from a request's arrival to the first content.",
            ("model", "upstream"),
            partial(Distribution, FIRST_TOKEN_BUCKETS),
        )
        self.overhead = Family(
            "gateway_overhead_seconds",
            "Seconds of the gateway's own, waiting for upstreams excluded.",
            ("route",),
            partial(Distribution, OVERHEAD_BUCKETS),
        )
        self._space = LabelSpace()
        self._kinds: dict[tuple[str, str | None, str | None, str, str | None], _Kind] = {}

    def configure(self, space: LabelSpace) -> None:
        """Accept these label values, and no others, from now on."""
        self._space = space
        self._kinds = {}

    def observe(self, record: ExchangeRecord) -> None:
        """Count a request that has ended."""
        try:
            kind = self._kinds[record.route, record.listed_model, record.upstream, record.key, record.team]
        except KeyError:
            kind = self._new_kind(record)
        try:
            kind.of_status[record.status].value += 1
        except KeyError:
            self._of_status(kind, record.status).value += 1
        if record.charged:
            (kind.cost or kind.keep("cost", self.cost, kind.owner)).value += record.charged
        for attempt in record.attempts:
            if attempt.cost:
                try:
                    kind.owed[attempt.upstream, attempt.reason].value += attempt.cost
                except KeyError:
                    self._owed_to(kind, attempt.upstream, attempt.reason).value += attempt.cost
        self._count_usage(kind, record)
        if record.duration is not None:
            (kind.duration or kind.keep("duration", self.duration, kind.names[:3])).observe(record.duration)
        if record.first_content is not None:
            first_token = kind.first_token or kind.keep("first_token", self.first_token, kind.names[1:3])
            first_token.observe(record.first_content)
        if record.overhead is not None:
            (kind.overhead or kind.keep("overhead", self.overhead, kind.names[:1])).observe(record.overhead)

    def _count_usage(self, kind: _Kind, record: ExchangeRecord) -> None:
        usage = record.usage
        if usage.input_tokens:
            found = kind.input or kind.keep("input", self.tokens, (*kind.owner, "input"))
            found.value += usage.input_tokens
        if usage.cached_input_tokens:
            found = kind.cached_input or kind.keep("cached_input", self.tokens, (*kind.owner, "cached_input"))
            found.value += usage.cached_input_tokens
        if usage.output_tokens:
            found = kind.output or kind.keep("output", self.tokens, (*kind.owner, "output"))
            found.value += usage.output_tokens
        if usage.images:
            (kind.images or kind.keep("images", self.images, kind.owner)).value += usage.images
        if record.confidence == "unknown" and record.unpriced:
            self._count_unpriced(kind.owner, usage)

    def _new_kind(self, record: ExchangeRecord) -> _Kind:
        space, team = self._space, record.team or NO_TEAM
        kind = _Kind(
            (
                known(record.route, space.routes),
                known(record.listed_model, space.models),
                known(record.upstream, space.upstreams),
                known(record.key, space.keys),
                known(team, space.teams),
            )
        )
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()
        self._kinds[record.route, record.listed_model, record.upstream, record.key, record.team] = kind
        return kind

    def _of_status(self, kind: _Kind, status: int) -> Count:
        route, model, upstream, key, team = kind.names
        labels = (route, model, upstream, str(status) if 100 <= status <= 599 else OTHER, key, team)
        found = self.requests.of(labels)
        if self.requests.has(labels):
            kind.of_status[status] = found
        return found

    def _owed_to(self, kind: _Kind, upstream: str, reason: CostReason) -> Count:
        labels = (known(upstream, self._space.upstreams), kind.names[1], reason)
        found = self.upstream_cost.of(labels)
        if self.upstream_cost.has(labels):
            kind.owed[upstream, reason] = found
        return found

    def _count_unpriced(self, owner: Labels, usage: Usage) -> None:
        self.unpriced.of(owner).value += 1
        for type, number in (
            ("input", usage.input_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("output", usage.output_tokens),
        ):
            if number:
                self.unpriced_tokens.of((*owner, type)).value += number
