"""The judgement of what an upstream says went wrong: in place of an answer, or inside one."""

from __future__ import annotations

from typing import Any

from gateway.core.errors import TransportError
from gateway.core.outcomes.classify import classify_error, read_answer
from gateway.core.outcomes.refused_wish import judged
from gateway.core.types import Outcome, Phase, Wish
from gateway.core.upstream_errors.upstream_error import UpstreamError
from gateway.translate.commands import Stalled
from gateway.translate.context import AttemptContext
from gateway.wire.answer_head import Head


def judge_answer(head: Head, body: bytes, context: AttemptContext, wishes: frozenset[Wish]) -> Outcome:
    """The outcome of a whole answer: ``ok`` for a document, else what its error means, without secrets.

    ``wishes``: what the upstream was asked for although the client did not.
    """
    return judge_document(head, body, context, wishes)[0]


def judge_document(
    head: Head, body: bytes, context: AttemptContext, wishes: frozenset[Wish]
) -> tuple[Outcome, dict[str, Any]]:
    """``judge_answer``, and the answer's document: empty if it is no JSON object."""
    outcome, said = read_answer(
        head.status, head, body, context.source(), wall_seconds=context.wall_seconds, redact=context.redact
    )
    document = said if isinstance(said, dict) else {}
    return judged(outcome, said, wishes, context.target.cost_class), document


def judge_in_band(
    error: UpstreamError, context: AttemptContext, wishes: frozenset[Wish], *, forwarded: bool
) -> Outcome:
    """The outcome of an error inside a stream, without secrets.

    ``wishes``: as above; none once content has come.
    ``forwarded``: whether content has gone to the client.
    """
    outcome = classify_error(error, forwarded=forwarded, redact=context.redact)
    return judged(outcome, error, wishes, context.target.cost_class)


def ended_early(phase: Phase, *, begun: bool, lacks: str = "a finish reason") -> Outcome:
    """The outcome of a stream that was closed properly, but before its end.

    ``begun``: whether any of it had come. ``lacks``: what would have ended it.
    """
    if phase is Phase.FORWARDED:
        return Outcome("sse_truncated", phase, 200, detail=f"the stream ended without {lacks}")
    slug = "sse_cut_early" if begun else "sse_empty"
    return Outcome(slug, phase, 200, detail="the stream ended before any content")


def interrupted(trouble: Stalled | TransportError, phase: Phase) -> Outcome:
    """The outcome of an answer that stopped, or fell silent, before its end."""
    if isinstance(trouble, Stalled):
        return Outcome(f"stall_{trouble.awaiting}", phase, 200, detail=str(trouble))
    slug = "sse_cut_late" if phase is Phase.FORWARDED else "sse_cut_early"
    return Outcome(slug, phase, 200, detail=f"{trouble.slug}: {trouble.detail}")
