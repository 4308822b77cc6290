"""The judgement of what a chat upstream says went wrong: in place of an answer, or inside one."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.core.outcomes.classify import classify_answer, classify_error
from gateway.core.outcomes.refused_wish import judged
from gateway.core.types import Outcome, Wish
from gateway.translate.commands import Head
from gateway.translate.context import AttemptContext
from gateway.wire.chat_chunk import InBandError


def judge_answer(head: Head, body: bytes, context: AttemptContext, wishes: frozenset[Wish]) -> Outcome:
    """The outcome of a whole answer: ``ok`` for a document, else what its error means, without secrets.

    ``wishes``: what the upstream was asked for although the client did not.
    """

    def outcome_of(body: bytes) -> Outcome:
        return classify_answer(head.status, head, body, context.source(), wall_seconds=context.wall_seconds)

    outcome = outcome_of(body)
    if outcome.ok:
        return outcome
    return judged(outcome_of(context.redact(body)), body, wishes, context.target.cost_class)


def judge_in_band(error: InBandError, context: AttemptContext, wishes: frozenset[Wish], *, forwarded: bool) -> Outcome:
    """The outcome of an error inside a stream, without secrets.

    ``wishes``: as above; none once content has come.
    ``forwarded``: whether content has gone to the client.
    """
    code = error.code if error.code is not None else error.status
    document: dict[str, Any] = {"error": error.message}  # a bare text may be a known code
    if code is not None or error.type is not None:
        document["error"] = {"message": error.message, "type": error.type, "param": error.param, "code": code}
    safe = orjson.loads(context.redact(orjson.dumps(document)))
    return judged(classify_error(safe, forwarded=forwarded), document, wishes, context.target.cost_class)
