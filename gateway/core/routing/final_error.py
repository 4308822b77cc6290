"""The error a client is sent when an exchange has failed, perhaps in several ways.

The rules, in this order:
1. An ending that rules out other attempts (a rejected request, a stream cut in the middle) is sent as it is. But if it
  only asks for the stream that the gateway gave up, the words for which it gave that up are sent.
2. But once a paid item may have been bought, the error must not invite the client to buy it again: if it would, or if
  other attempts were possible, the doubt is what the client is sent.
3. Otherwise the failure that explains most (``explains`` in outcomes/table.py), and among equals the last one. Keys
  that could not even be tried count as failures: a pool that is rate limited asks for patience whichever other failures
  there were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.core.errors import GatewayError, UpstreamFault
from gateway.core.outcomes.refused_wish import wants_stream
from gateway.core.outcomes.table import client_error, explains, is_doubtful
from gateway.core.routing.credentials import Exhausted
from gateway.core.routing.key_pauses import Reason
from gateway.core.types import CostClass, Outcome, Phase

SLUG_OF_REASON: Mapping[Reason, str] = {
    "busy": "rate_limited",
    "rate_limited": "rate_limited",
    "unfunded": "key_unfunded",
    "forbidden": "key_forbidden",
    "invalid": "key_invalid",
}


def final_error(
    outcomes: Sequence[tuple[Outcome, CostClass]],
    exhausted: Sequence[tuple[Exhausted, CostClass]],
    *,
    model: str,
    over: bool,
    waits: Mapping[str, float],
) -> GatewayError:
    """The error for all that went wrong. At least one of ``outcomes`` and ``exhausted`` is not empty.

    ``outcomes``: of the attempts, in order.
    ``exhausted``: pools that had no free key.
    ``over``: whether the last outcome rules out other attempts.
    ``waits``: slug → seconds after which the cause may have passed.
    """
    doubts = [pair for pair in outcomes if is_doubtful(*pair)]
    if over:
        last = client_error(*_last(outcomes), model=model)
        if not doubts or last.retry_after is None:
            return last
    if doubts:
        return client_error(*doubts[0], model=model)
    candidates = [*outcomes, *((Outcome(SLUG_OF_REASON[why.reason], Phase.REJECTED), cost) for why, cost in exhausted)]
    best = max(reversed(candidates), key=lambda candidate: explains(candidate[0]))
    return client_error(*best, model=model, retry_after=waits.get(best[0].slug))


def _last(outcomes: Sequence[tuple[Outcome, CostClass]]) -> tuple[Outcome, CostClass]:
    """The last outcome, or that which was taken for a refused wish by mistake."""
    if wants_stream(outcomes[-1][0]):
        for outcome, cost_class in reversed(outcomes[:-1]):
            if outcome.wish is not None and outcome.message is not None:
                return replace(outcome, slug="rejected", wish=None), cost_class
    return outcomes[-1]


def no_upstream_key(model: str) -> GatewayError:
    """502: the route exists, but none of its upstreams has a key."""
    message = f"No upstream key is configured for the model '{model}'."
    return UpstreamFault(502, "upstream_error", "upstream_auth_failed", message)


def not_on_this_route(model: str) -> GatewayError:
    """404: the model exists, but not for this kind of request."""
    message = f"The model '{model}' cannot be used on this route."
    return UpstreamFault(404, "invalid_request_error", "model_not_found", message, param="model")
