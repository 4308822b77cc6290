"""The context that every conversation with an upstream is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.outcomes.classify import AnswerSource
from gateway.core.routing.durations import Expected
from gateway.core.types import CostClass, Endpoint, Target
from gateway.wire.answer_sounds import Heard

EVENT_LIMIT = 32 << 20
"""The default of ``limits.event``: an image is base64 in its event, and a PNG of 4096 × 4096 pixels has some 20 MB."""


@dataclass(slots=True)
class AttemptContext:
    """One attempt's target and endpoint, and what its upstream's answers are judged with.

    Made anew for each attempt, so not frozen (decision 004), and never changed.

    ``wall_seconds``: Unix time at the start, for HTTP dates.
    ``redact``: strikes secrets and our upstreams' hosts out of an upstream's own messages, which may repeat the key it
        was sent.
    ``redact_document``: strikes secrets out of a document that goes to the client as it came, with its links; None for
        one that never does.
    ``event_limit``: bytes one event of a stream may have.
    ``context``: tokens that the model takes in and writes together; None if that is not known.
    ``tells_cost``: the answer's usage is to say what the virtual key is charged.
    ``expected``: how long such an order takes; None if that is not known.
    ``heard``: is told of the sounds in the answer; None where none was asked for.
    """

    target: Target
    endpoint: Endpoint
    wall_seconds: float
    redact: Callable[[bytes], bytes]
    event_limit: int = EVENT_LIMIT
    redact_document: Callable[[bytes], bytes] | None = None
    tells_cost: bool = False
    context: int | None = None
    heard: Heard | None = None
    expected: Expected | None = None

    def source(self, endpoint: Endpoint | None = None, cost_class: CostClass | None = None) -> AnswerSource:
        """The source of an answer to this attempt.

        ``endpoint``: another host of the upstream that was asked instead; None for the attempt's own.
        ``cost_class``: of the request, where that is not the target's; None for the target's.
        """
        target = self.target
        return AnswerSource(
            dialect=target.upstream.dialect,
            operation=target.operation,
            cost_class=target.cost_class if cost_class is None else cost_class,
            host=(self.endpoint if endpoint is None else endpoint).host,
        )

    def redacted(self, text: str) -> str:
        """``text`` without secrets."""
        return self.redact(text.encode("utf-8", "replace")).decode("utf-8", "replace")
