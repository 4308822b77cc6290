"""A stream relayed by the driver, pushed and awaited, says what a conversation that waits for each piece says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import TransportError
from gateway.core.types import Phase
from gateway.exchange.attempt import DeadlinePassed
from gateway.translate.commands import Stalled
from tests.exchange.scripted import NEVER, Response, attempt, ends, now, play, waits
from tests.translate import transcript
from tests.translate.chat import ASKING, PIECES, STREAM, STREAM_HEAD, USAGE, chunk, conversation, delta

RESET = TransportError("connection_reset", Phase.ANSWERED, "reset by peer")


@dataclass
class Client:
    """A client that takes bytes at once, or, by turns of ``at_once``, lets the driver wait."""

    at_once: list[bool]
    got: list[bytes] = field(default_factory=list)
    waited: int = 0

    @property
    def started(self) -> bool:
        return bool(self.got)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        self.waited += 1
        self.got.append(data)

    def emit_now(self, data: bytes) -> bool:
        now = bool(self.got) and (self.at_once.pop(0) if self.at_once else True)
        if now:
            self.got.append(data)
        return now


def relayed(pieces: list[bytes], end: str, at_once: list[bool], **fields: Any) -> tuple[Any, ...]:
    """What the client got, the outcome and the usage, by the driver."""
    talk = conversation(**fields)
    client = Client(at_once)

    async def story() -> None:
        response = Response(
            [(1.0 + number, piece) for number, piece in enumerate(pieces)],
            end=NEVER if end == "stall" else len(pieces) + 1.0,
            breaks=RESET if end == "reset" else None,
            status=200,
            headers=STREAM_HEAD.headers,
        )
        outcomes.append(await attempt(None, response, talk=talk, sink=client).run())  # type: ignore[arg-type]

    outcomes: list[Any] = []
    play(story)
    [outcome] = outcomes
    return b"".join(client.got), talk.answer, outcome.slug, outcome.phase, talk.usage, talk.progress


def awaited(pieces: list[bytes], end: str, **fields: Any) -> tuple[Any, ...]:
    """The same, by commands."""
    talk = conversation(**fields)
    told: list[Any] = [STREAM_HEAD, *pieces]
    told.append({"close": b"", "reset": RESET, "stall": None}[end])
    conversing = transcript.step_by_step(talk.converse())
    got: list[bytes] = []
    command = next(conversing)
    try:
        while True:
            if isinstance(command, transcript.UNANSWERED):
                got.append(command.data)  # type: ignore[union-attr]
                command = conversing.send(None)
                continue
            answer = told.pop(0)
            if answer is None:
                answer = Stalled(command.awaiting, 60.0)  # type: ignore[union-attr]
            command = conversing.throw(answer) if isinstance(answer, Exception) else conversing.send(answer)
    except StopIteration as ended:
        outcome = ended.value
    return b"".join(got), talk.answer, outcome.slug, outcome.phase, talk.usage, talk.progress


MORE = {
    **PIECES,
    "many": PIECES["hello"] + PIECES["world"] * 30,
    "padded": b"".join(chunk(delta(content=word), obfuscation="aB3" * place) for place, word in enumerate("abc")),
    "thoughts": b"".join(chunk(delta(reasoning_content=word)) for word in "abc"),
    "call": chunk(delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}])),
    "arguments": b"".join(
        chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": word}}])) for word in ("{", '"a":', "1", "}")
    ),
    "usage and more": chunk(delta(content="x"), usage=USAGE),
    "crlf": (PIECES["hello"] + PIECES["world"] * 3).replace(b"\n\n", b"\r\n\r\n"),
}
WORDS = st.sampled_from(sorted({*MORE} - {"none", "ping", "limited", "half", "id", "estimated"}))


@st.composite
def splits(draw: st.DrawFn) -> list[bytes]:
    data = b"".join(MORE[word] for word in draw(st.lists(WORDS, min_size=1, max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [piece for piece in (data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)) if piece]


@pytest.mark.parametrize("fields", [{}, STREAM, ASKING], ids=["whole", "unasked", "asked"])
@given(pieces=splits(), end=st.sampled_from(["close", "reset", "stall"]), at_once=st.lists(st.booleans(), max_size=8))
@settings(deadline=None, max_examples=150)
def test_pushed_and_awaited_come_to_the_same(
    fields: dict[str, Any], pieces: list[bytes], end: str, at_once: list[bool]
) -> None:
    assert relayed(pieces, end, at_once, **fields) == awaited(pieces, end, **fields)


class TestWhatEndsARelay:
    """In virtual time."""

    def test_silence(self) -> None:
        async def story() -> None:
            response = Response([(1, PIECES["hello"]), (40, PIECES["world"])], headers=STREAM_HEAD.headers)
            running = attempt(None, response, talk=conversation(**STREAM), sink=Client([]))  # type: ignore[arg-type]
            assert await ends(running) == ("stall_idle", 100)
            assert running.waited == pytest.approx(100)

        play(story)

    def test_silence_after_the_finish_which_is_its_end(self) -> None:
        async def story() -> None:
            pieces = [(1, PIECES["hello"]), (2, PIECES["finish"])]
            response = Response(pieces, headers=STREAM_HEAD.headers)
            running = attempt(None, response, talk=conversation(**STREAM), sink=Client([]))  # type: ignore[arg-type]
            assert await ends(running) == ("ok", 7)

        play(story)

    def test_the_deadline(self) -> None:
        async def story() -> None:
            pieces = [(float(second), PIECES["hello"]) for second in range(1, 200)]
            response = Response(pieces, headers=STREAM_HEAD.headers)
            talk = conversation(**STREAM)
            running = attempt(None, response, talk=talk, sink=Client([]), deadline=50.0)  # type: ignore[arg-type]
            assert await ends(running) == ("deadline", 50)
            assert response.closed_at == 50

        play(story)

    def test_an_interruption(self) -> None:
        async def story() -> None:
            waiting = waits()
            asyncio.get_running_loop().call_at(5.5, waiting.interrupt, DeadlinePassed())
            pieces = [(float(second), PIECES["hello"]) for second in range(1, 200)]
            client = Client([])
            running = attempt(
                None,  # type: ignore[arg-type]
                Response(pieces, headers=STREAM_HEAD.headers),
                talk=conversation(**STREAM),
                sink=client,
                waits=waiting,
            )
            assert (await running.run()).slug == "deadline"
            assert now() == 5.5
            assert len(client.got) == 5

        play(story)

    def test_a_mistake_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def story() -> None:
            response = Response([(1, PIECES["hello"])], headers=STREAM_HEAD.headers)
            running = attempt(None, response, talk=conversation(**STREAM), sink=Client([]))  # type: ignore[arg-type]
            with pytest.raises(ZeroDivisionError):
                await running.run()
            assert response.closed_at == 1

        monkeypatch.setattr("gateway.translate.chat_stream.ChatStream.feed", lambda *_: 1 // 0)
        play(story)
