"""A stream written as an upstream writes it: chunks with their oddities, events, pings, and an end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tests.fuzz.deltas import Step, steps_of
from tests.fuzz.drawing import Draw
from tests.fuzz.framing import Framing, ping
from tests.fuzz.meaning import Ending, Meaning, Said
from tests.fuzz.reading import choices_of, reason_of

ABSENT: Final = "a field that is not there"


@dataclass
class Chunk:
    """One chunk. ``ends``: the choices whose last reason it names; ``speaks``: whether there is content in it."""

    document: dict[str, Any]
    speaks: bool = False
    ends: frozenset[int] = frozenset()
    names_reasons: bool = False


@dataclass
class Stream:
    """What goes over the wire.

    ``data``: all its bytes. ``chunks``: those that have come whole by then. ``doubtful``: nobody can say whether it is
    complete. ``silent``: it ends by a reset or by silence, not by being closed.
    """

    data: bytes
    chunks: list[Chunk]
    end: str
    doubtful: bool = False
    label: bytes | None = b"text/event-stream"
    reasons: set[int] = field(default_factory=set)


_WHOLE = frozenset({Ending.DONE, Ending.CLOSED, Ending.UNREASONED, Ending.LATE_RESET, Ending.LATE_STALL})


def write_stream(draw: Draw, meaning: Meaning) -> Stream:
    """Events, with whatever oddities come together."""
    chunks = _Chunks(draw, meaning).written()
    framing = Framing(draw)
    ending = meaning.ending
    parts: list[bytes] = [framing.beginning()]
    if ending is Ending.ERROR_FIRST:
        return Stream(b"".join([*parts, framing.error(), *_perhaps_done(draw, framing)]), [], "close")
    last_content = max((place for place, chunk in enumerate(chunks) if chunk.speaks), default=0)
    stop = len(chunks) if ending in _WHOLE else draw.number(0, last_content)
    pings = draw.mostly(0.03, 0.0, 0.3)
    sent = chunks[:stop]
    for chunk in sent:
        parts += [*_pings(draw, framing, pings), framing.event(chunk.document)]
    if ending in (Ending.CLOSED, Ending.UNREASONED) and framing.plain and draw.chance(0.2):
        parts[-1] = parts[-1].rstrip(b"\r\n") + draw.one_of(b"", framing.end)  # closed without the last blank line
    else:
        parts += _pings(draw, framing, pings)
    end = {Ending.RESET: "reset", Ending.LATE_RESET: "reset", Ending.STALLED: "silence", Ending.LATE_STALL: "silence"}
    ends = end.get(ending, "close")
    if ending is Ending.DONE:
        ends = _terminate(draw, framing, parts)
    elif ending is Ending.HALF:
        parts.append(framing.half(chunks[stop].document))
    elif ending in (Ending.ERROR, Ending.NONSENSE):
        broken = framing.error() if ending is Ending.ERROR else framing.nonsense()
        parts += [broken, *_perhaps_done(draw, framing)]
    doubtful = _doubtful(sent, meaning, ending, silence=ends == "silence")
    return Stream(b"".join(parts), sent, ends, doubtful, _label(draw))


def _pings(draw: Draw, framing: Framing, share: float) -> list[bytes]:
    pings = []
    while draw.chance(share):
        pings.append(ping(draw, framing.end))
    return pings


def _terminate(draw: Draw, framing: Framing, parts: list[bytes]) -> str:
    """Add the terminator, and sometimes more after it; returns how the connection ends."""
    parts.append(framing.terminator())
    if not parts[-1].endswith(framing.end * 2):
        return "close"
    if draw.chance(0.1):
        parts.append(draw.one_of(b"data: {half", b"data: [DONE]\n\n", b'data: {"error":"late"}\n\n', b"\n\n\n"))
    return draw.mostly("close", "reset", "silence")


def _label(draw: Draw) -> bytes | None:
    return draw.mostly(
        b"text/event-stream",
        b"text/event-stream; charset=utf-8",
        b"TEXT/EVENT-STREAM",
        b"text/plain",
        b"text/plain; charset=utf-8",
        b"application/json",
        b"application/octet-stream",
        None,
    )


def _perhaps_done(draw: Draw, framing: Framing) -> list[bytes]:
    """vLLM ends a stream with [DONE] after an error, too."""
    return [framing.terminator()] if draw.chance(0.4) else []


def _doubtful(sent: list[Chunk], meaning: Meaning, ending: Ending, *, silence: bool) -> bool:
    """Whether a stream that breaks off cannot be told from one that has ended, or the other way round.

    After a finish reason silence ends an answer (issue, part 1), so one that names a reason in every chunk looks ended
    at each of its silences, and not ended when its last reason came with more words. Other breaks look like an end only
    after the first reason of a choice.
    """
    if ending in (Ending.DONE, Ending.CLOSED, Ending.UNREASONED):
        return False
    last: dict[int, bool] = {}
    spoke_on: set[int] = set()
    for chunk in sent:
        for choice in choices_of(chunk.document):
            place = choice.get("fuzz_choice", 0)
            speaks = _speaks(choice)
            if last.get(place) and speaks:
                spoke_on.add(place)
            if speaks or not last.get(place):
                last[place] = reason_of(choice) is not None
                if last[place] and not speaks:
                    spoke_on.discard(place)
            elif reason_of(choice) is not None:
                spoke_on.discard(place)
    reasoned = {place for place, has in last.items() if has}
    ended = reasoned if silence else reasoned - spoke_on
    if meaning.complete:
        return bool(spoke_on)
    return len(ended) == len(meaning.choices)


class _Chunks:
    """The chunks of one stream under construction."""

    def __init__(self, draw: Draw, meaning: Meaning) -> None:
        self._draw = draw
        self._meaning = meaning
        n = len(meaning.choices)
        self._index_style = draw.mostly("int", "text", "float", odd=0.2)
        if n == 1:
            self._index_style = draw.mostly(
                "int", "text", "float", "growing", "missing", "null", "one", "minus", odd=0.3
            )
        self._envelope_style = draw.mostly("usual", "azure", "none", "wrong", "changing", "nulls", odd=0.3)
        self._no_reason = draw.mostly(None, ABSENT, "null", "", "None", False, 0, [], odd=0.4)
        self._no_error = draw.mostly(ABSENT, None, "", {}, False, odd=0.1)
        self._bare_choice = n == 1 and draw.chance(0.02)
        self._usage_style = draw.of(("alone", "alone", "last", "every", "null_choices", "no_choices", "twice", "early"))
        self._wrong_usage = draw.chance(0.15)
        self._unknown = draw.mostly(0.0, 0.3, odd=0.2)
        self._count = 0

    def written(self) -> list[Chunk]:
        draw = self._draw
        queues = [self._with_reason(said) for said in self._meaning.choices]
        places = [place for place, queue in enumerate(queues) for _ in queue]
        draw.random.shuffle(places)
        chunks: list[Chunk] = []
        if self._envelope_style == "azure":
            chunks.append(self._chunk([], first=True))
        row: dict[int, Step] = {}
        for place in places:
            if row and (place in row or not draw.chance(0.3)):
                chunks.append(self._chunk(list(row.items())))
                row = {}
            row[place] = queues[place].pop(0)
        if row:
            chunks.append(self._chunk(list(row.items())))
        return self._with_usage(chunks)

    def _with_reason(self, said: Said) -> list[Step]:
        """The steps of a choice with its reason to end, where this upstream says it."""
        draw = self._draw
        steps = steps_of(draw, said)
        if said.finish is None:
            return steps
        style = draw.mostly("own", "last", "every", "early", "repeated", odd=0.45)
        if style in ("last", "every"):
            for step in steps if style == "every" else steps[-1:]:
                step["finish_reason"] = said.finish
            return steps
        own: Step = {
            **draw.one_of({"delta": {}}, {}, {"delta": None}, {"delta": {"content": None}}),
            "finish_reason": said.finish,
        }
        if style == "early" and len(steps) > 1:
            steps.insert(
                draw.number(1, len(steps) - 1), {"delta": {}, "finish_reason": draw.one_of("tool_calls", "stop")}
            )
        return [*steps, own, dict(own)] if style == "repeated" else [*steps, own]

    def _chunk(self, steps: list[tuple[int, Step]], *, first: bool = False) -> Chunk:
        choices = [self._choice(place, step) for place, step in steps]
        document: dict[str, Any] = {**self._envelope(first=first), "choices": choices}
        if self._no_error is not ABSENT:
            document["error"] = self._no_error
        if self._bare_choice and choices:
            [document["choices"]] = choices
        if self._draw.chance(self._unknown):
            document["x_new"] = self._draw.value()
        self._count += 1
        return Chunk(document, speaks=any(_speaks(step) for _, step in steps))

    def _choice(self, place: int, step: Step) -> dict[str, Any]:
        draw = self._draw
        style = self._index_style
        choice: dict[str, Any] = {}
        if style != "missing":
            choice["index"] = {
                "int": place, "text": str(place), "float": float(place), "growing": self._count, "null": None,
                "one": 1, "minus": -1,
            }[style]  # fmt: skip
        choice |= step
        if "finish_reason" not in step and self._no_reason is not ABSENT:
            choice["finish_reason"] = self._no_reason
        if draw.chance(0.1):
            choice.setdefault("logprobs", None)
        if draw.chance(self._unknown):
            choice["x_choice"] = draw.value()
            if isinstance(choice.get("delta"), dict) and choice["delta"] and "text" not in choice:
                choice["delta"] = {**choice["delta"], "x_delta": draw.one_of("x", "", [1], {"a": 1}, None)}
        if len(self._meaning.choices) > 1:
            choice["fuzz_choice"] = place
        return choice

    def _envelope(self, *, first: bool) -> dict[str, Any]:
        draw = self._draw
        usual = {"id": "chatcmpl-f", "object": "chat.completion.chunk", "created": 1_700_000_001, "model": "m-up"}
        style = self._envelope_style
        if style == "azure" and first:
            return {
                **usual,
                "id": "",
                "created": 0,
                "model": "",
                "object": "",
                "prompt_filter_results": [{"prompt_index": 0}],
            }
        if style == "none":
            return {}
        if style == "changing":
            return {**usual, "id": f"chatcmpl-{self._count}", "created": 1_700_000_001 + self._count}
        if style == "nulls":
            return {**dict.fromkeys(usual), "system_fingerprint": None, "service_tier": None}
        if style == "wrong":
            return {name: draw.wrong(type(value)) for name, value in usual.items()}
        return usual

    def _with_usage(self, chunks: list[Chunk]) -> list[Chunk]:
        draw, usage, style = self._draw, self._meaning.usage, self._usage_style
        if usage is None:
            self._without_usage(chunks)
            return chunks
        if style == "every":
            for chunk in chunks:
                chunk.document["usage"] = {**usage, "completion_tokens": 0}
        if style in ("every", "last", "twice"):
            chunks[-1].document["usage"] = usage
        if style in ("every", "last"):
            return chunks
        alone = {**self._envelope(first=False), "usage": usage}
        if style != "no_choices":
            alone["choices"] = None if style == "null_choices" else []
        place = draw.number(0, len(chunks)) if style == "early" else len(chunks)
        return [*chunks[:place], Chunk(alone), *chunks[place:]]

    def _without_usage(self, chunks: list[Chunk]) -> None:
        draw = self._draw
        wrong, says_none = self._wrong_usage, draw.chance(0.3)
        for chunk in chunks:
            if wrong:
                chunk.document["usage"] = draw.one_of("12", [], {}, {"prompt_tokens": "many"}, 7, True, None)
            elif says_none:
                chunk.document["usage"] = None


def _speaks(step: Step) -> bool:
    said = step.get("delta") or step.get("message") or step.get("text") or {}
    if not isinstance(said, dict):
        return True
    return any(value or type(value) is int for name, value in said.items() if name != "role")
