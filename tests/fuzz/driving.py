"""Playing a conversation against an upstream's bytes, as the driver in ``exchange/`` would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.core.errors import TransportError
from gateway.core.types import Outcome, Phase
from gateway.translate.commands import Awaiting, Conversation, Emit, Receive, Send, Stalled
from gateway.wire.answer_head import Head
from tests.translate.transcript import step_by_step


@dataclass
class Played:
    """What came of a conversation. ``late``: bytes received after which something was still held back is the reader's
    to judge: ``emitted_by`` holds for each receipt how much had been emitted by then."""

    outcome: Outcome
    emitted: bytes
    emitted_by: list[int] = field(default_factory=list)


def drive(conversation: Conversation, head: Head, pieces: Iterable[bytes], end: str) -> Played:
    """Converse to the end.

    ``end``: "close", "reset" or "silence", once the pieces are used up.
    """
    conversing = step_by_step(conversation.converse())
    command = next(conversing)
    emitted = bytearray()
    emitted_by: list[int] = []
    rest = iter(pieces)
    try:
        while True:
            if isinstance(command, Send):
                command = conversing.send(head)
            elif isinstance(command, Emit):
                emitted += command.data
                command = conversing.send(None)
            elif isinstance(command, Receive):
                emitted_by.append(len(emitted))
                piece = next(rest, b"")
                if piece or end == "close":
                    command = conversing.send(piece)
                elif end == "reset":
                    command = conversing.throw(TransportError("connection_reset", Phase.ANSWERED, "it was reset"))
                else:
                    command = conversing.throw(Stalled(command.awaiting, 60))
            else:
                raise AssertionError(f"a chat asks for {command}")
    except (Stalled, TransportError) as trouble:  # left to the driver, which makes an outcome of it
        assert not emitted
        return Played(Outcome(f"{trouble}", Phase.ANSWERED), b"", emitted_by)
    except StopIteration as ended:
        return Played(ended.value, bytes(emitted), emitted_by)


FINISH = Awaiting.FINISH
