"""One attempt in its exchange's account: what the books, the metrics and the log are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.core.pricing.charges import AttemptCost, AttemptFacts
from gateway.core.pricing.price_list import PriceList
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import Outcome, Phase, Usage
from gateway.exchange.attempt import Attempt
from gateway.stores.records import AttemptRecord
from gateway.telemetry.redaction import fingerprint
from gateway.translate.commands import Conversation

OUR_MISTAKE = Outcome("internal_error", Phase.UNKNOWN, detail="the gateway failed during this attempt")
"""What an attempt came to if nothing else is known of it."""

_BROKEN_OFF = ("drain_cut", "deadline", "internal_error")
"""How an attempt ends that we ourselves broke off: what was made and not delivered does not count then."""

NO_USAGE = Usage()


@dataclass(slots=True)
class Entry:
    """One attempt, while it runs and after."""

    plan: AttemptPlan
    conversation: Conversation
    attempt: Attempt
    began: float
    subrequest: int = 0
    ended: float = 0.0
    outcome: Outcome = OUR_MISTAKE

    def line(self) -> dict[str, Any]:
        """What the log says of it. An attempt that went well is told in its request's line."""
        plan, outcome = self.plan, self.outcome
        return {
            "attempt": plan.number,
            "upstream": plan.target.upstream.name,
            "endpoint": plan.endpoint.url,
            "upstream_key": plan.credential.name,
            "fingerprint": fingerprint(plan.credential.value),
            "outcome": outcome.slug,
            "phase": int(outcome.phase),
            "upstream_status": outcome.status,
            "detail": outcome.detail or None,
            "task_id": self.conversation.task_id,
            "bytes_out": self.attempt.bytes_out,
            "bytes_in": self.attempt.bytes_in,
            "attempt_ms": round((self.ended - self.began) * 1000, 1),
        }

    def facts(self, prices: PriceList, outcome: Outcome, bound: int | None) -> AttemptFacts:
        """What the books need of an attempt that ends so. Counting tokens, where nothing was measured, happens here.

        ``prices``: for an answer that names another model than was asked. ``bound``: nano-dollars that budgets hold for
        its subrequest.
        """
        conversation, target = self.conversation, self.plan.target
        usage, terms = conversation.usage, conversation.terms
        price, own_price = prices.of_answer(target, terms.model)
        counted = usage is None and outcome.phase >= 2
        return AttemptFacts(
            price,
            target.cost_class,
            target.operation,
            outcome.slug,
            outcome.phase,
            usage,
            conversation.estimate() if counted else NO_USAGE,
            images=conversation.delivered if outcome.slug in _BROKEN_OFF else conversation.images,
            quality=conversation.quality,
            size=conversation.size,
            stated=conversation.stated_cost,
            subrequest=self.subrequest,
            terms=terms,
            own_price=own_price,
            bound=bound,
        )

    def record(self, cost: AttemptCost) -> AttemptRecord:
        """What the books keep of it."""
        plan, outcome = self.plan, self.outcome
        return AttemptRecord(
            plan.target.upstream.name,
            plan.endpoint.url,
            plan.credential.name,
            outcome.slug,
            int(outcome.phase),
            cost.amount,
            cost.reason,
            self.conversation.task_id,
        )
