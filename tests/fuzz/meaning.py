"""What an upstream means by a stream, apart from how it writes it: the model that the oracle knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.fuzz.drawing import Draw


class Ending(StrEnum):
    """How a stream comes to its end."""

    DONE = "the terminator"
    CLOSED = "closed in good order, after every reason"
    UNREASONED = "closed in good order, without a reason"
    RESET = "the connection fails in the middle"
    LATE_RESET = "the connection fails after the last reason"
    STALLED = "silence in the middle"
    LATE_STALL = "silence after the last reason"
    ERROR = "an error event in the middle"
    ERROR_FIRST = "an error event before anything else"
    HALF = "closed within an event"
    NONSENSE = "an event that is neither JSON nor a known form, in the middle"


COMPLETE = frozenset({Ending.DONE, Ending.CLOSED, Ending.LATE_RESET, Ending.LATE_STALL})
"""Endings of an answer that is whole: only these may be told as complete."""


@dataclass
class Call:
    """A call of a tool. ``id``: None where the upstream gives none. ``arguments``: any JSON object; of a custom tool
    the input, a text. ``written``: their text, which is the same wherever the upstream says it again."""

    id: str | None
    name: str
    arguments: Any
    custom: bool = False
    written: str = ""


@dataclass
class Said:
    """What one choice says. ``finish``: None where the upstream never says why it ends. ``thoughts``: entries of
    ``reasoning_details`` or ``thinking_blocks`` as they must come out, whose name is ``thoughts_name``. ``tokens``: how
    many have logprobs. ``older``: its call is a ``function_call``."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = "stop"
    citations: list[str] = field(default_factory=list)
    thoughts: list[dict[str, Any]] = field(default_factory=list)
    thoughts_name: str = "reasoning_details"
    tokens: int = 0
    older: bool = False


@dataclass
class Meaning:
    """An answer. ``usage``: None where the upstream never tells it, or tells nothing that can be believed."""

    choices: list[Said]
    usage: dict[str, Any] | None
    ending: Ending
    tools: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.ending in COMPLETE


def draw_meaning(draw: Draw) -> Meaning:
    """Any answer."""
    ending = Ending.DONE if draw.chance(0.45) else draw.of(tuple(Ending))
    n = draw.mostly(1, 2, 3, odd=0.15)
    meaning = Meaning([_said(draw) for _ in range(n)], _usage(draw), ending)
    meaning.tools = [call.name for said in meaning.choices for call in said.calls]
    if ending is Ending.DONE:
        for said in meaning.choices:
            if draw.chance(0.15):
                said.finish = None
    elif ending is Ending.UNREASONED:
        for said in meaning.choices[draw.number(0, n - 1) :]:
            said.finish = None
    return meaning


def _said(draw: Draw) -> Said:
    said = Said()
    if draw.chance(0.8):
        said.text = draw.text(8)
        if draw.chance(0.08):
            said.text += draw.one_of("\ud83d", "\ude00", "\ud83d x")  # half a character that nothing makes whole
    if draw.chance(0.3):
        said.reasoning = draw.text(6)
    elif draw.chance(0.15):
        said.thoughts_name, said.thoughts = _thoughts(draw)
    if draw.chance(0.35):
        said.calls = [_call(draw) for _ in range(draw.number(1, 3))]
        said.finish = draw.mostly("tool_calls", "stop", odd=0.1)
    elif draw.chance(0.05):
        said.refusal = draw.text(4)
        said.text = ""
    if not (said.text or said.calls or said.refusal):
        said.text = draw.text(2)
    if said.finish == "stop":
        said.finish = draw.mostly("stop", "length", "content_filter", "end_turn", "STOP", "eos", "SAFETY", odd=0.2)
    if draw.chance(0.06):
        said.citations = [f"https://example.org/{place}" for place in range(draw.number(1, 3))]
    return said


def _call(draw: Draw) -> Call:
    id = None if draw.chance(0.15) else f"call_{draw.random.randrange(1 << 32):08x}"
    if draw.chance(0.05):
        return Call(id, draw.name(), draw.text(4), custom=True)
    arguments = {draw.one_of("city", "zone", "q", "日", "a b"): draw.value() for _ in range(draw.number(0, 3))}
    return Call(id, draw.name(), arguments)


def _thoughts(draw: Draw) -> tuple[str, list[dict[str, Any]]]:
    if draw.chance(0.5):
        kind, field_name, name = "reasoning.text", "text", "reasoning_details"
    else:
        kind, field_name, name = "thinking", "thinking", "thinking_blocks"
    entries: list[dict[str, Any]] = []
    for index in range(draw.number(1, 2)):
        entry = {"type": kind, "index": index, field_name: draw.text(5), "signature": f"S{draw.random.random()}=="}
        if name == "reasoning_details" and draw.chance(0.5):
            entry["format"] = "anthropic-claude-v1"
        entries.append(entry)
    return name, entries


def _usage(draw: Draw) -> dict[str, Any] | None:
    if draw.chance(0.25):
        return None
    usage: dict[str, Any] = {"prompt_tokens": draw.number(0, 40), "completion_tokens": draw.number(0, 40)}
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    if draw.chance(0.3):
        usage["completion_tokens_details"] = {"reasoning_tokens": 2, "audio_tokens": None}
    if draw.chance(0.2):
        usage["prompt_tokens_details"] = draw.one_of(None, {"cached_tokens": 0}, {"cached_tokens": None}, "none", [])
    return usage
