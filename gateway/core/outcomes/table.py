"""The outcome table: what every way an attempt can end means, and the functions that look it up.

``RULES`` has a row for each slug of the fault catalogue. A row says how far the attempt usually had come, where to go
next, what to avoid for a while, whether another attempt costs retry budget, what the client is answered, and how the
provider's side is booked. Whether another attempt is allowed at all depends on the phase and on what a request costs;
that is the second table, ``SAFETY``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.core.errors import GatewayError, GatewayFault, UpstreamFault
from gateway.core.types import CostClass, Outcome, Phase, Target

Booked = Literal["none", "billed", "unknown", "suspected_duplicate"]

RETRY_AFTER_CAP = 60.0
"""Seconds: the longest Retry-After a client is sent (longer ones make the SDKs give up or wait on a dead socket)."""


class Verdict(StrEnum):
    """The next step after an outcome."""

    DONE = "done"
    FRESH_CONNECTION = "fresh_connection"
    AS_ASKED = "as_asked"  # the same again, without what the client did not ask for
    NEXT_CREDENTIAL = "next_credential"
    NEXT_ENDPOINT = "next_endpoint"
    NEXT_TARGET = "next_target"
    STOP = "stop"


class Scope(StrEnum):
    """The part of an upstream that an outcome is held against."""

    NOTHING = "nothing"
    KEY = "key"
    KEY_MODEL = "key_model"
    ENDPOINT = "endpoint"
    ENDPOINT_MODEL = "endpoint_model"  # too slow for this model on this host, healthy otherwise
    UPSTREAM_MODEL = "upstream_model"
    ORIGIN = "origin"  # the host at first; once it was seen at a second host, the model at this upstream


class Permission(StrEnum):
    """Whether a request may be sent again."""

    YES = "yes"
    BY_PRICE = "by_price"  # once, elsewhere, if little money is at stake
    NEVER = "never"


SAFETY: Mapping[CostClass, Mapping[Phase, Permission]] = {
    **{
        cheap: {
            Phase.UNSENT: Permission.YES,
            Phase.REJECTED: Permission.YES,
            Phase.UNKNOWN: Permission.YES,
            Phase.ANSWERED: Permission.YES,
            Phase.FORWARDED: Permission.NEVER,
        }
        for cheap in (CostClass.READ, CostClass.TOKENS)
    },
    CostClass.PAID: {
        Phase.UNSENT: Permission.YES,
        Phase.REJECTED: Permission.YES,
        Phase.UNKNOWN: Permission.BY_PRICE,
        Phase.ANSWERED: Permission.BY_PRICE,
        Phase.FORWARDED: Permission.NEVER,
    },
}


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """The error a client is sent.

    ``explains``: how much it explains beside other failures of the same exchange; the highest one is sent.
    ``passes_on``: the upstream's own message replaces ``message`` where there is one.
    """

    status: int
    type: str
    code: str
    message: str
    explains: int = 3
    passes_on: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the outcome table.

    ``phase``: the usual one; an outcome carries its own.
    ``onward``: where to go next, if another attempt is allowed.
    ``against``: what is avoided for a while.
    ``answer``: the error the client is sent.
    ``costs_budget``: whether another attempt at the same upstream counts as a retry.
    ``booked``: how the provider's side is booked once the request may have been worked on (phases 2 to 4); a paid item
        whose result did not arrive is in doubt in any case.
    """

    phase: Phase
    onward: Verdict
    against: Scope
    answer: ClientAnswer
    costs_budget: bool = True
    booked: Booked = "unknown"


_UPSTREAM = "upstream_error"
_INVALID = "invalid_request_error"
_UNAVAILABLE = "service_unavailable_error"

_UNREACHABLE = ClientAnswer(502, _UPSTREAM, "upstream_unreachable", "No upstream for this model could be reached.", 1)
_MISSING = ClientAnswer(404, _INVALID, "model_not_found", "No upstream offers the model '{model}' at present.", 0)
_AUTH = ClientAnswer(502, _UPSTREAM, "upstream_auth_failed", "The upstream refused the gateway's own credentials.", 4)
_QUOTA = ClientAnswer(
    503, _UNAVAILABLE, "upstream_quota_exhausted", "The gateway's account at the upstream is used up.", 5
)
_LIMITED = ClientAnswer(
    429, "rate_limit_error", "rate_limit_exceeded", "The upstream limits the rate. Try again later.", 9
)
_FAILED = ClientAnswer(502, _UPSTREAM, "upstream_error", "The upstream failed to answer this request.")
_INVALID_ANSWER = ClientAnswer(
    502, _UPSTREAM, "upstream_invalid_response", "The upstream's answer could not be understood."
)
_EMPTY = ClientAnswer(502, _UPSTREAM, "upstream_empty_response", "The upstream's answer was empty.")
_SLOW = ClientAnswer(504, _UPSTREAM, "upstream_timeout", "The upstream did not answer in time.")
_REJECTED = ClientAnswer(400, _INVALID, "invalid_request", "The upstream rejected the request.", passes_on=True)
_CONFLICT = ClientAnswer(409, _INVALID, "conflict", "The upstream reports a conflict.", passes_on=True)
_TOO_LARGE = ClientAnswer(
    413, _INVALID, "request_too_large", "The request is too large for the upstream.", passes_on=True
)
_REFUSED = ClientAnswer(
    400,
    "image_generation_user_error",
    "content_policy_violation",
    "The request was refused by the upstream's content policy.",
    passes_on=True,
)
_IN_WORDS = ClientAnswer(
    502, _UPSTREAM, "upstream_invalid_response", "The upstream answered without an image.", passes_on=True
)
_OVERLOADED = ClientAnswer(
    503, _UNAVAILABLE, "gateway_overloaded", "The gateway has no free connection. Try again shortly."
)
_SPENT = ClientAnswer(
    429,
    "insufficient_quota",
    "insufficient_quota",
    "What is left of the budget is not enough for the other ways to serve this request.",
    8,
)
_CUT = ClientAnswer(
    502, _UPSTREAM, "upstream_stream_interrupted", "The upstream broke off in the middle of its answer."
)
_UNWISHED = ClientAnswer(504, _UPSTREAM, "upstream_timeout", "The upstream did not answer in time.", 0)
_GONE = ClientAnswer(499, _INVALID, "client_closed_request", "The client closed the connection.")
_DRAINED = ClientAnswer(503, _UNAVAILABLE, "server_shutting_down", "The gateway is shutting down.")
_OURS = ClientAnswer(500, "server_error", "internal_error", "The gateway failed; its log has the request id.")
_TASK_FAILED = ClientAnswer(502, _UPSTREAM, "upstream_error", "The upstream's task failed.", passes_on=True)
_NOT_FETCHED = ClientAnswer(
    502,
    _UPSTREAM,
    "result_unavailable",
    "The image was made and is paid for, but it could not be delivered. Sending the request again buys it again.",
)
_DOUBTFUL = ClientAnswer(
    504,
    _UPSTREAM,
    "upstream_outcome_unknown",
    "The paid work may have been done, but its result did not arrive. Sending it again may buy it once more.",
)

_SENT_NOTHING = Rule(Phase.UNSENT, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _UNREACHABLE, False, "none")
_GARBLED = Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _INVALID_ANSWER)

RULES: Mapping[str, Rule] = {
    "ok": Rule(Phase.FORWARDED, Verdict.DONE, Scope.NOTHING, _FAILED, False, "billed"),
    # Reaching an upstream
    "connect_refused": _SENT_NOTHING,
    "dns_error": _SENT_NOTHING,
    "tls_error": _SENT_NOTHING,
    "connect_timeout": _SENT_NOTHING,
    "budget_denied": Rule(Phase.UNSENT, Verdict.NEXT_TARGET, Scope.NOTHING, _SPENT, False, "none"),
    "taken_over": Rule(Phase.UNSENT, Verdict.STOP, Scope.NOTHING, _DOUBTFUL, False, "none"),
    "pool_timeout": Rule(Phase.UNSENT, Verdict.STOP, Scope.NOTHING, _OVERLOADED, False, "none"),
    "reused_conn_reset": Rule(Phase.UNKNOWN, Verdict.FRESH_CONNECTION, Scope.NOTHING, _FAILED, booked="none"),
    "connection_reset": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _FAILED),
    "bad_http": _GARBLED,
    "head_too_big": _GARBLED,
    # Status codes
    "key_invalid": Rule(Phase.REJECTED, Verdict.NEXT_CREDENTIAL, Scope.KEY, _AUTH, False, "none"),
    "key_unfunded": Rule(Phase.REJECTED, Verdict.NEXT_CREDENTIAL, Scope.KEY, _QUOTA, False, "none"),
    "key_forbidden": Rule(Phase.REJECTED, Verdict.NEXT_CREDENTIAL, Scope.KEY_MODEL, _AUTH, False, "none"),
    "waf_block": Rule(Phase.REJECTED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _FAILED, booked="none"),
    "model_missing": Rule(Phase.REJECTED, Verdict.NEXT_TARGET, Scope.UPSTREAM_MODEL, _MISSING, booked="none"),
    "upstream_408": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _SLOW, booked="none"),
    "conflict": Rule(Phase.REJECTED, Verdict.STOP, Scope.NOTHING, _CONFLICT, booked="none"),
    "too_large": Rule(Phase.REJECTED, Verdict.STOP, Scope.NOTHING, _TOO_LARGE, booked="none"),
    "rejected": Rule(Phase.REJECTED, Verdict.STOP, Scope.NOTHING, _REJECTED, booked="none"),
    "wish_refused": Rule(Phase.REJECTED, Verdict.AS_ASKED, Scope.NOTHING, _UNWISHED, False, "none"),
    "content_policy": Rule(Phase.REJECTED, Verdict.STOP, Scope.NOTHING, _REFUSED, booked="billed"),
    "rate_limited": Rule(Phase.REJECTED, Verdict.NEXT_CREDENTIAL, Scope.KEY_MODEL, _LIMITED, False, "none"),
    "upstream_5xx": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _FAILED, booked="none"),
    "cf_origin_down": Rule(Phase.REJECTED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _UNREACHABLE, False, "none"),
    "cf_unknown": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _FAILED, booked="none"),
    "cf_524": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT_MODEL, _SLOW),
    "bad_content_type": _GARBLED,
    "bad_json": _GARBLED,
    "redirect": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _INVALID_ANSWER, booked="none"),
    "bad_encoding": _GARBLED,
    "soft_error": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _FAILED, booked="none"),
    "empty_response": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _EMPTY, booked="none"),
    # Tasks and images
    "task_failed": Rule(Phase.REJECTED, Verdict.NEXT_TARGET, Scope.NOTHING, _TASK_FAILED, booked="none"),
    "task_unknown": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _INVALID_ANSWER),
    "task_poll": Rule(Phase.UNKNOWN, Verdict.STOP, Scope.NOTHING, _SLOW, False),
    "no_image": Rule(Phase.ANSWERED, Verdict.STOP, Scope.NOTHING, _IN_WORDS, False, "billed"),
    "asset_unavailable": Rule(Phase.ANSWERED, Verdict.STOP, Scope.NOTHING, _NOT_FETCHED, False, "billed"),
    # Streams
    "sse_error_first": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _FAILED, booked="none"),
    "sse_empty": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _EMPTY, booked="none"),
    "sse_cut_early": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _FAILED),
    "sse_cut_late": Rule(Phase.FORWARDED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _CUT),
    "sse_truncated": Rule(Phase.FORWARDED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _CUT),
    "sse_event_too_big": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.NOTHING, _INVALID_ANSWER),
    "sse_flood": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _INVALID_ANSWER),
    "sse_bad_event": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _INVALID_ANSWER),
    "stall_head": Rule(Phase.UNKNOWN, Verdict.NEXT_ENDPOINT, Scope.ENDPOINT, _SLOW),
    "stall_content": Rule(Phase.ANSWERED, Verdict.NEXT_ENDPOINT, Scope.ORIGIN, _SLOW),
    "stall_idle": Rule(Phase.FORWARDED, Verdict.NEXT_ENDPOINT, Scope.NOTHING, _SLOW),
    "stall_finish": Rule(Phase.FORWARDED, Verdict.NEXT_ENDPOINT, Scope.NOTHING, _SLOW, booked="billed"),
    "stream_too_long": Rule(Phase.FORWARDED, Verdict.STOP, Scope.NOTHING, _SLOW, booked="billed"),
    # The gateway's own endings: nothing is held against an upstream
    "client_gone_early": Rule(Phase.UNSENT, Verdict.STOP, Scope.NOTHING, _GONE, False, "none"),
    "client_gone_wait": Rule(Phase.UNKNOWN, Verdict.STOP, Scope.NOTHING, _GONE, False, "billed"),
    "client_gone_stream": Rule(Phase.FORWARDED, Verdict.STOP, Scope.NOTHING, _GONE, False, "billed"),
    "client_stalled": Rule(Phase.FORWARDED, Verdict.STOP, Scope.NOTHING, _GONE, False, "billed"),
    "drain_cut": Rule(Phase.FORWARDED, Verdict.STOP, Scope.NOTHING, _DRAINED, False, "billed"),
    "deadline": Rule(Phase.UNKNOWN, Verdict.STOP, Scope.NOTHING, _SLOW, False),
    "internal_error": Rule(Phase.UNKNOWN, Verdict.STOP, Scope.NOTHING, _OURS, False),
}

OWN_ENDINGS = frozenset(
    {
        "pool_timeout",
        "client_gone_early",
        "client_gone_wait",
        "client_gone_stream",
        "client_stalled",
        "drain_cut",
        "deadline",
        "internal_error",
    }
)
"""Endings that say nothing about an upstream."""

_CERTAIN = (_REFUSED, _REJECTED, _CONFLICT, _TOO_LARGE, _NOT_FETCHED, _IN_WORDS)
"""Answers that leave no doubt whether a paid item was bought, however far the attempt had come."""

_DOUBTFUL_PHASES = (Phase.UNKNOWN, Phase.ANSWERED)
_STATUSES_PASSED_ON = frozenset({400, 409, 413, 415, 422})


def is_doubtful(outcome: Outcome, cost_class: CostClass) -> bool:
    """Whether a paid item may have been bought although its result did not arrive."""
    if cost_class is not CostClass.PAID or outcome.ok or outcome.phase not in _DOUBTFUL_PHASES:
        return False
    return RULES[outcome.slug].answer not in _CERTAIN


def permission(outcome: Outcome, cost_class: CostClass) -> Permission:
    """Whether the request may be sent again after ``outcome``."""
    if RULES[outcome.slug].onward in (Verdict.STOP, Verdict.DONE):
        return Permission.NEVER
    return SAFETY[cost_class][outcome.phase]


def verdict(outcome: Outcome, cost_class: CostClass, *, buy_again: bool = False) -> Verdict:
    """What to do after ``outcome``.

    ``buy_again``: whether a paid request of unknown outcome may be sent once more, which the failover plan decides by
        the price at stake and the deadline. It goes elsewhere, never to the endpoint that may have worked on it.
    """
    onward = RULES[outcome.slug].onward
    if onward is Verdict.DONE:
        return Verdict.DONE
    match permission(outcome, cost_class):
        case Permission.YES:
            return onward
        case Permission.BY_PRICE if buy_again:
            return Verdict.NEXT_TARGET if onward is Verdict.NEXT_TARGET else Verdict.NEXT_ENDPOINT
        case _:
            return Verdict.STOP


def booking(outcome: Outcome, cost_class: CostClass, *, bought_again: bool = False) -> Booked:
    """How the provider's side of one attempt is booked.

    ``bought_again``: a later attempt of the same exchange delivered the paid item, so this one may be a duplicate.
    """
    if outcome.phase in (Phase.UNSENT, Phase.REJECTED) and not outcome.ok:
        return "none"
    if is_doubtful(outcome, cost_class):
        return "suspected_duplicate" if bought_again else "unknown"
    return RULES[outcome.slug].booked


def price_at_stake(target: Target) -> int | None:
    """Nano-dollars one paid request may cost at most; None when the price is unknown."""
    price = target.price
    if price is None:
        return None
    known = [amount for sizes in price.table.values() for amount in sizes.values()]
    if price.image is not None:
        known.append(price.image)
    if price.minimum:
        known.append(price.minimum)
    return max(known, default=None)


def client_error(
    outcome: Outcome, cost_class: CostClass, *, model: str, retry_after: float | None = None
) -> GatewayError:
    """The error the client is sent after ``outcome``. It reveals nothing about upstream keys, accounts or hosts.

    ``model``: as the client named it.
    ``retry_after``: seconds until an upstream key is free again, for ``rate_limited`` and ``key_unfunded``.

    The rate limit is the one upstream failure that a second try can cure without buying twice. An account that is used
    up, and an upstream that asked for a pause (503 with Retry-After), are sent with a time too, but SDKs must not retry
    them by themselves.
    """
    answer = _client_answer(outcome, cost_class)
    message = answer.message.format(model=model)
    if answer in (_OVERLOADED, _DRAINED, _OURS):
        harmless = answer is _OVERLOADED and outcome.phase is Phase.UNSENT
        return GatewayFault(answer.status, answer.type, answer.code, message, retry_after=1.0 if harmless else None)
    if answer is _LIMITED:
        seconds = retry_after if retry_after is not None else outcome.retry_after
        held = _capped_wait(1.0 if seconds is None else seconds)
        return UpstreamFault(answer.status, answer.type, answer.code, message, retry_after=held)
    if answer in (_QUOTA, _FAILED):
        hint = _capped_wait(retry_after if answer is _QUOTA else outcome.retry_after)
        return UpstreamFault(answer.status, answer.type, answer.code, message, retry_after=hint, again=False)
    if answer is _MISSING:
        said = f" The last one says: {outcome.message}" if outcome.message else ""
        return UpstreamFault(answer.status, answer.type, answer.code, message + said, param="model")
    if not answer.passes_on:
        return UpstreamFault(answer.status, answer.type, answer.code, message)
    if answer is _REFUSED:
        kind, code = _refusal_names(outcome, cost_class)
        return UpstreamFault(answer.status, kind, code, outcome.message or message, param=outcome.param)
    status = outcome.status if answer is _REJECTED and outcome.status in _STATUSES_PASSED_ON else answer.status
    code = (outcome.code or answer.code) if answer is _REJECTED else answer.code
    return UpstreamFault(status, outcome.type or answer.type, code, outcome.message or message, param=outcome.param)


def _refusal_names(outcome: Outcome, cost_class: CostClass) -> tuple[str, str]:
    """The type and code of a refused prompt. A chat's client sees the upstream's own code where it names the refusal
    (Azure's ``content_filter``), and then finds what it means in the type.
    """
    if cost_class is CostClass.PAID:
        return _REFUSED.type, _REFUSED.code
    if outcome.code is None or outcome.code == _REFUSED.code:
        return _INVALID, _REFUSED.code
    return _REFUSED.code, outcome.code


def _capped_wait(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0.1), RETRY_AFTER_CAP)


def explains(outcome: Outcome) -> int:
    """How much an outcome explains when an exchange has failed in several ways; the highest one is sent to the client.

    A rate limit comes first, because waiting cures it. Then what an upstream answered: an account used up, refused
    credentials, any other failure. An unreachable host says less, and a missing model says something only if every
    upstream lacked it.
    """
    return RULES[outcome.slug].answer.explains


def _client_answer(outcome: Outcome, cost_class: CostClass) -> ClientAnswer:
    answer = RULES[outcome.slug].answer
    if outcome.slug in OWN_ENDINGS and outcome.slug != "deadline":
        return answer
    if outcome.phase is Phase.FORWARDED and answer not in (_REFUSED, _NOT_FETCHED):
        return _CUT
    if is_doubtful(outcome, cost_class) and answer is not _EMPTY:
        return _DOUBTFUL
    return answer
