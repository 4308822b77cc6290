"""The judgement of an upstream's answer: status, headers and body → an ``Outcome``.

Two questions are kept apart. *What is it* (the slug): decided by the error's own code if that is a known one, else by
the HTTP status, else by the error's type. *What does it prove* (the phase): a refusal proves that nothing was done only
if the provider itself sent it, which means JSON; a page made by a proxy on the way proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.json_weight import MOST_ANSWERED, read_json
from gateway.core.outcomes.error_codes import slug_of_code, slug_of_status, slug_of_type
from gateway.core.outcomes.foreign_pages import (
    CF_EDGE_REFUSALS,
    cloudflare_outcome,
    content_type,
    is_cloudflare,
    is_web_page,
    ray_of,
)
from gateway.core.outcomes.missing_model import names_a_missing_model
from gateway.core.outcomes.request_faults import (
    exceeds_every_allowance,
    is_refusal_name,
    names_an_empty_account,
    names_the_prompt,
)
from gateway.core.outcomes.retry_after import HeaderLookup, asked_wait
from gateway.core.outcomes.shown_words import plain_name, sanitise, shown_name, shown_param
from gateway.core.outcomes.table import RULES
from gateway.core.types import CostClass, Dialect, OperationName, Outcome, Phase
from gateway.core.upstream_errors.upstream_error import UpstreamError, error_in, is_error_document, read_upstream_error

_STATUSES_OF_PROXIES = frozenset({413, 429})
"""Statuses that mean the same when a proxy sends them, with a page of its own."""

_MAY_ASK_TO_WAIT = frozenset({429, 503, 529})
"""Statuses whose ``retry-after`` counts; 529 is Anthropic's for being overloaded."""

_FINAL_ANYWAY = frozenset({"conflict", "too_large", "rejected", "content_policy"})
"""Slugs that end the exchange in any case, so that it does not matter what they prove."""

_STATUS_KNOWS_BETTER = frozenset({"upstream_5xx", "upstream_408"})
"""Slugs of vague codes such as ``server_error`` and ``gateway_timeout``, which add nothing to an HTTP error status."""

_AT_MOST_TO_PARSE = 64 * 1024
"""Bytes of an error's body that are parsed; a 200 is read whole."""

_OF_THE_PROMPT = frozenset({400, 403, 406, 422, 451})
"""Statuses with which upstreams refuse a prompt. Their words decide: a 403 is mostly the key's."""

_MAY_BE_THE_PROMPTS = frozenset({"key_forbidden", "rejected", "soft_error", "sse_error_first"})
"""Slugs of errors inside a 200 that are the prompt's if their words say so."""

_MAY_BE_THE_MODELS = frozenset({"rejected", "key_forbidden", "upstream_5xx", "soft_error", "sse_error_first"})
"""Slugs of errors that say that the model is missing if their words do."""

_ABOUT_THEIR_KEYS = frozenset({"key_invalid", "key_unfunded", "key_forbidden", "rate_limited", "model_missing"})
"""Slugs of codes that say nothing of our own keys if an upstream only quotes them from one of its own upstreams."""

_AT_MOST_TO_SHOW = 16 * 1024
"""Characters of each text of an error that are searched for secrets. Far fewer are shown, so that a secret cut in two
here never shows."""

_MOST_LOGGED = 500
"""Characters of a message that are logged."""

_ABOUT_US = frozenset(
    {"key_invalid", "key_unfunded", "key_forbidden", "rate_limited", "model_missing", "upstream_5xx", "upstream_408"}
)
"""Slugs whose message is about the gateway's key, its account or the host, which operators need in the log. All other
messages are about the request (why it was refused, what was wrong with it) and may quote its prompt, so the log gets
only the error's code and type; the client, whose prompt it is, gets the message."""

Redact = Callable[[bytes], bytes]
"""Strikes secrets out of UTF-8 text: an upstream may repeat the key it was sent."""


@dataclass(frozen=True, slots=True)
class AnswerSource:
    """The source of an answer, and what it was asked: the same error proves more from one source than from another.

    ``operation``, ``cost_class``: of the request.
    ``host``: the endpoint's host name.
    """

    dialect: Dialect
    operation: OperationName
    cost_class: CostClass
    host: str

    @property
    def never_charges_failures(self) -> bool:
        """Whether a failure costs nothing: PiAPI promises so for gpt-4o-image (its chat page's price note)."""
        return self.dialect == "piapi" and self.operation == "chat" and self.cost_class is CostClass.PAID


def classify_answer(
    status: int,
    headers: HeaderLookup,
    body: bytes,
    source: AnswerSource,
    *,
    wall_seconds: float,
    redact: Redact | None = None,
) -> Outcome:
    """The outcome of a complete answer that is not a 200 event stream (``read_answer``)."""
    return read_answer(status, headers, body, source, wall_seconds=wall_seconds, redact=redact)[0]


def read_answer(
    status: int,
    headers: HeaderLookup,
    body: bytes,
    source: AnswerSource,
    *,
    wall_seconds: float,
    redact: Redact | None = None,
) -> tuple[Outcome, object]:
    """Judge a complete answer that is not a 200 event stream.

    ``wall_seconds``: Unix time now, for HTTP dates.
    ``redact``: applied to the error's texts only, which is faster than searching the whole body; None strikes nothing
        out.

    Returns the outcome, which is ``ok`` in phase ANSWERED for a usable JSON document; and what the answer says, which
    may hold secrets: its JSON, or a text.
    """
    if 200 <= status < 300:
        outcome, said = _read_success(status, headers, body, redact, source.operation)
    elif status < 400:
        return Outcome("redirect", Phase.UNKNOWN, status, detail=f"status {status}"), None
    else:
        said, is_json = _parse_error(body[:_AT_MOST_TO_PARSE])
        outcome = _judge_error(status, headers, body, said, source, is_json=is_json, now=wall_seconds, redact=redact)
    return outcome, body[:_AT_MOST_TO_PARSE].decode("utf-8", "replace") if said is None else said


def _judge_error(
    status: int,
    headers: HeaderLookup,
    body: bytes,
    document: object,
    source: AnswerSource,
    *,
    is_json: bool,
    now: float,
    redact: Redact | None,
) -> Outcome:
    html = not is_json and is_web_page(headers, body)
    made_by_cloudflare = is_cloudflare(headers, body, document, html=html, host=source.host)
    if made_by_cloudflare and (status >= 500 or status in CF_EDGE_REFUSALS):
        return cloudflare_outcome(status, headers, now)
    if html and status not in _STATUSES_OF_PROXIES:
        return Outcome(
            "bad_content_type", Phase.UNKNOWN, status, detail=f"status {status}, an HTML page{ray_of(headers)}"
        )
    if status == 404 and not is_json:
        # A host that does not know the path at all says nothing about the model.
        return Outcome("bad_content_type", Phase.UNKNOWN, status, detail="status 404, not JSON")
    error = read_upstream_error(_as_text(body) if document is None and not html else document)
    slug = _slug(status, error, source.operation)
    failures_are_free = source.never_charges_failures
    return _outcome(
        slug,
        _phase(slug, proven=is_json and (status < 500 or failures_are_free), failures_are_free=failures_are_free),
        _redacted(error, redact),
        status=status,
        retry_after=asked_wait(headers, wall_seconds=now) if status in _MAY_ASK_TO_WAIT else None,
        detail=f"status {status}{'' if is_json else ', not JSON'}{ray_of(headers)}",
        told=is_json,
    )


def classify_error(
    document: object,
    *,
    forwarded: bool = False,
    fallback: str = "sse_error_first",
    redact: Redact | None = None,
    operation: OperationName = "chat",
) -> Outcome:
    """Judge an error that came inside a 200: a stream's event (whole, or only its error object), or a JSON body.

    ``document``: an ``UpstreamError`` if it was read already.
    ``forwarded``: whether content had already gone to the client.
    ``fallback``: the slug if the error's code and type are unknown.
    ``operation``: of the request.

    Only a refusal by its code proves that nothing was done: PiAPI's promise not to charge for failures is about HTTP
    statuses, not about these.
    """
    error = document if isinstance(document, UpstreamError) else read_upstream_error(document)
    slug = _own_slug(error) or slug_of_type(error.type)
    if slug is None:
        slug = fallback if error.status is None else slug_of_status(error.status)
    if slug in _MAY_BE_THE_PROMPTS and names_the_prompt(error):
        slug = "content_policy"
    elif slug in ("rejected", fallback) and names_an_empty_account(error):
        slug = "key_unfunded"
    elif _lacks_the_model(slug, error, operation):
        slug = "model_missing"
    elif slug == "rate_limited" and exceeds_every_allowance(error.message):
        slug = "too_large"
    phase = _phase(slug, proven=True, failures_are_free=False)
    if forwarded:
        phase = Phase.FORWARDED
    elif phase is Phase.UNKNOWN:
        phase = Phase.ANSWERED
    return _outcome(slug, phase, _redacted(error, redact), status=200, retry_after=None, detail="an error inside a 200")


def read_success(
    status: int,
    headers: HeaderLookup,
    body: bytes,
    *,
    redact: Redact | None = None,
    operation: OperationName = "chat",
) -> tuple[Outcome, dict[str, Any]]:
    """Judge a whole answer of status 2xx as ``classify_answer`` does.

    Returns the outcome and the JSON document, which is empty if there is none.
    """
    outcome, found = _read_success(status, headers, body, redact, operation)
    return outcome, found if isinstance(found, dict) else {}


def _read_success(
    status: int, headers: HeaderLookup, body: bytes, redact: Redact | None, operation: OperationName
) -> tuple[Outcome, object]:
    """The outcome, and the JSON; None if it is none."""
    if (trouble := _unreadable(status, headers, body)) is not None:
        return trouble, None
    try:
        found = read_json(body, MOST_ANSWERED)
    except ValueError:
        slug = "bad_json" if b"json" in content_type(headers) else "bad_content_type"
        return Outcome(slug, Phase.UNKNOWN, status, detail=f"{len(body)} bytes that are not JSON"), None
    error = error_in(found)
    if error is not None:
        outcome = classify_error(error, fallback="soft_error", redact=redact, operation=operation)
        return replace(outcome, status=status), found
    if not isinstance(found, dict):
        return Outcome("bad_json", Phase.UNKNOWN, status, detail="JSON, but not an object"), found
    return Outcome("ok", Phase.ANSWERED, status), found


def _unreadable(status: int, headers: HeaderLookup, body: bytes) -> Outcome | None:
    """The outcome of an answer that is unusable as its headers and first bytes show; None if it must be parsed to
    tell.
    """
    encoding = (headers.get(b"content-encoding") or b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        return Outcome("bad_encoding", Phase.UNKNOWN, status, detail="an encoding that was not asked for")
    if not body or body.isspace():
        return Outcome("empty_response", Phase.ANSWERED, status, detail="an empty body")
    if is_web_page(headers, body):
        return Outcome("bad_content_type", Phase.UNKNOWN, status, detail=f"an HTML page{ray_of(headers)}")
    return None


def _slug(status: int, error: UpstreamError, operation: OperationName) -> str:
    """The slug of an error. A known code is more exact than the status; a numeric code beside a status is not."""
    slug = _slug_by_names(status, error)
    if status in _OF_THE_PROMPT and slug in _MAY_BE_THE_PROMPTS and names_the_prompt(error):
        return "content_policy"
    if slug == "rejected" and names_an_empty_account(error):
        return "key_unfunded"
    if _lacks_the_model(slug, error, operation):
        return "model_missing"
    if slug == "rate_limited" and (status == 413 or exceeds_every_allowance(error.message)):
        return "too_large"
    return slug


def _lacks_the_model(slug: str, error: UpstreamError, operation: OperationName) -> bool:
    """Whether words say that the model is missing. PiAPI's tasks name a model and a task type: there the words are
    about the order, which is its client's.
    """
    return operation != "task" and slug in _MAY_BE_THE_MODELS and names_a_missing_model(error)


def _slug_by_names(status: int, error: UpstreamError) -> str:
    if isinstance(error.code, str):
        by_code = _own_slug(error)
        if by_code is not None and by_code not in _STATUS_KNOWS_BETTER:
            return by_code
    by_type = slug_of_type(error.type)
    return by_type if by_type == "key_unfunded" else slug_of_status(status)


def _own_slug(error: UpstreamError) -> str | None:
    """The slug of an error's code, unless the code is quoted from somewhere else and about the keys used there."""
    slug = slug_of_code(error.code)
    return None if error.quoted and slug in _ABOUT_THEIR_KEYS else slug


def _phase(slug: str, *, proven: bool, failures_are_free: bool) -> Phase:
    """How far the request had come.

    ``proven``: the provider itself refused, with a status that stands for a refusal.
    ``failures_are_free``: the provider promises that any failure it reports costs nothing.
    """
    if slug in _FINAL_ANYWAY or (proven and failures_are_free):
        return Phase.REJECTED
    usual = RULES[slug].phase
    return Phase.UNKNOWN if usual is Phase.REJECTED and not proven else usual


def _parse_error(body: bytes) -> tuple[object, bool]:
    """The document, and whether it is one that a provider's own error can be: an object, or an array of them."""
    try:
        document = read_json(body)
    except ValueError:
        return None, False
    return document, is_error_document(document)


def _as_text(body: bytes) -> str | None:
    """A body that is not JSON, as words; None if it is no text."""
    text = body[:_AT_MOST_TO_SHOW].decode("utf-8", "replace").removeprefix("\ufeff")
    return None if "\ufffd" in text[:-1] or "\x00" in text else text.rstrip("\ufffd")


def _redacted(error: UpstreamError, redact: Redact | None) -> UpstreamError:
    """The error without secrets."""
    if redact is None:
        return error

    def redacted(text: str) -> str:
        return redact(text[:_AT_MOST_TO_SHOW].encode("utf-8", "replace")).decode("utf-8", "replace")

    return replace(
        error,
        message=redacted(error.message) if error.message is not None else None,
        type=redacted(error.type) if error.type is not None else None,
        param=redacted(error.param) if error.param is not None else None,
        code=redacted(error.code) if isinstance(error.code, str) else error.code,
    )


def _outcome(
    slug: str,
    phase: Phase,
    error: UpstreamError,
    *,
    status: int,
    retry_after: float | None,
    detail: str,
    told: bool = True,
) -> Outcome:
    """``told``: whether the words are the provider's own, so that the log may hold them."""
    message = sanitise(error.message)
    code = error.code if isinstance(error.code, int) else plain_name(error.code)
    names = "".join(f", {name} {word}" for name, word in (("code", code), ("type", plain_name(error.type))) if word)
    said = f": {message[:_MOST_LOGGED]}" if message and told and slug in _ABOUT_US else ""
    return Outcome(
        slug,
        phase,
        status=status,
        retry_after=retry_after,
        message=message,
        type=None if _speaks_of_a_rate(slug, error.type) else shown_name(error.type),
        param=shown_param(error.param),
        code=_code_for_client(slug, error.code),
        detail=f"{detail}{names}{said}",
    )


def _speaks_of_a_rate(slug: str, type: str | None) -> bool:
    """Whether an error's type calls a rate limit what is not one."""
    return slug == "too_large" and slug_of_type(type) == "rate_limited"


def _code_for_client(slug: str, code: object) -> str | None:
    """The upstream's own code. Of a refused prompt only one that says so: a client looks for it."""
    name = shown_name(code)
    if slug == "content_policy" and name != "invalid_prompt" and not is_refusal_name(name):
        return None
    return name
