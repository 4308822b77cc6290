"""The cost of an answer, asked for in the middle of a conversation: a stream tells it in its last events."""

from __future__ import annotations

from collections.abc import Generator

from gateway.translate.commands import Charge, Command, Result
from gateway.translate.context import AttemptContext
from gateway.wire.answer_cost import AnswerCost


def asked_cost(context: AttemptContext) -> Generator[Command, Result, AnswerCost | None]:
    """What the key is charged if the answer ends here; None where answers do not tell it."""
    return (yield from charged()) if context.tells_cost else None


def charged() -> Generator[Command, Result, AnswerCost]:
    """What the key is charged if the answer ends here."""
    usd = yield Charge()
    assert usd is None or isinstance(usd, str)
    return AnswerCost(usd)
