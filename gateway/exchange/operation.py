"""What an exchange is to do: an operation, in one part or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Target, Wish
from gateway.translate.commands import Conversation


class OperationPart(Protocol):
    """What one subrequest is to bring."""

    @property
    def supports(self) -> frozenset[str]:
        """The kinds of target operation a conversation exists for."""
        ...

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        """A fresh conversation for one attempt.

        ``without``: what it must not ask for of its own accord.
        """
        ...

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        """Nano-dollars this work can cost at most if ``target`` serves it, None if its price is unknown.

        ``exact``: whether input is to be counted, which takes long, or a quick guess will do.
        """
        ...

    def cost_reason(self, target: Target) -> str:
        """What its ``cost_bound`` at ``target`` is made of, in words for the client; may be empty."""
        ...

    def stake(self, target: Target) -> int | None:
        """Nano-dollars this work costs at most on a paid target, None if that is not known."""
        ...

    def wishes(self, target: Target) -> OwnWishes:
        """What a conversation with ``target`` asks for beyond the client's request."""
        ...


class Operation(Protocol):
    """What the client asked, frozen."""

    @property
    def route(self) -> str:
        """The route's path, as metrics and books name it."""
        ...

    @property
    def stream(self) -> bool: ...

    @property
    def bare(self) -> bool: ...  # whether the answer is a sound or a text, around which nothing may stand

    @property
    def prepares(self) -> bool:
        """Whether there is anything to ``prepare``."""
        ...

    async def prepare(self) -> None:
        """What takes long and must be done before anything is bought, once the request has been let in.

        Raises ClientError.
        """
        ...

    @property
    def parts(self) -> Sequence[OperationPart]:
        """What is to be brought, a subrequest for each; at least one."""
        ...

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        """The whole answer from those that succeeded, in order; of a stream its last bytes, None if none are due.

        ``charge``: says what the key is charged for it, in US dollars; None if that is not known.
        """
        ...

    def rough_input_tokens(self) -> int:
        """A quick estimate, for the tokens-a-minute limit."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the client is to be told in ``x-gateway-note``, beside what the conversations note; it may grow."""
        ...
