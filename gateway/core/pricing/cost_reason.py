"""Why a request may cost as much as is reserved for it, in words for the client that is refused.

12 input tokens at up to $2.50 and 16,384 output tokens at up to $10.00 per 1M
"""

from __future__ import annotations

from gateway.core.pricing.cost_bound import RequestedWork
from gateway.core.pricing.prices import format_usd, upper_bound
from gateway.core.pricing.token_amounts import PER_MILLION
from gateway.core.types import Target


def chat_cost_reason(target: Target, asked: RequestedWork) -> str:
    """The tokens that are reserved for a chat at a target, and at what; empty where it is not billed by tokens.

    Prices are those that the bound counts with: of the dearest kind of token and the dearest tier there may be.
    """
    price = target.price
    if price is None or target.operation != "chat" or price.image is not None or price.output is None:
        return ""
    inputs, outputs = asked.input_tokens, asked.output_tokens
    of_calls = upper_bound(price, 0, 0, asked=asked.asked)
    of_inputs = upper_bound(price, inputs, 0, asked=asked.asked)
    both = upper_bound(price, inputs, outputs, asked=asked.asked)
    calls = asked.asked.calls
    beside = f" and {calls} calls" if calls and price.call else ""
    return (
        f"{inputs:,} input tokens at up to {_each(of_inputs - of_calls, inputs)} and "
        f"{outputs:,} output tokens at up to {_each(both - of_inputs, outputs)} per 1M{beside}"
    )


def _each(amount: int, tokens: int) -> str:
    """US dollars for a million of so many tokens, to a hundredth of a cent."""
    million = amount * PER_MILLION // tokens if tokens else 0
    return f"${format_usd(round(million, -5))}"
