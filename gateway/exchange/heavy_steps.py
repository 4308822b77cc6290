"""The steps of a conversation that take long, since they work through megabytes: they are done in a thread."""

from __future__ import annotations

from gateway.core.types import Outcome
from gateway.runtime.aside import aside
from gateway.translate.commands import Command, Conversation, Conversing, Receive, Relay, Result
from gateway.wire.turns import HEAVY


class EndedAside(Exception):
    """The conversation ended in such a step: what StopIteration says, which cannot leave a thread."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.slug)
        self.outcome = outcome


def is_heavy(command: Command, result: Result, conversation: Conversation) -> bool:
    """Whether the step of ``conversation`` that goes on with what ``command`` brought takes long."""
    if type(command) is Relay:
        return conversation.heavy
    if type(result) is not bytes:
        return False
    if type(command) is Receive:
        # Between two line ends bytes are only gathered.
        return command.heavy and (not result or b"\n" in result or b"\r" in result)
    return len(result) >= HEAVY


async def step_aside(conversing: Conversing, result: Result) -> Command:
    """The command that follows a result. Nothing else may use the conversation meanwhile: not even a cancellation
    ends this before the step is over. Raises EndedAside in place of StopIteration.
    """

    def step() -> Command | Outcome:
        try:
            return conversing.send(result)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    came = await aside(step)
    if isinstance(came, Outcome):
        raise EndedAside(came)
    return came
