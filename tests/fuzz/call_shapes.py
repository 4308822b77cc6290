"""The tool calls of one choice, written as the pieces that upstreams of many kinds send.

Every style here leaves no doubt what is meant: a person who reads the pieces can say which calls they are.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

from tests.fuzz.drawing import Draw
from tests.fuzz.meaning import Call

Piece = dict[str, Any]
_NO_IDS: tuple[Any, ...] = (None, "", "null")


def call_pieces(draw: Draw, calls: list[Call]) -> list[list[Piece]]:
    """The ``tool_calls`` arrays of the deltas, in order; the calls' ids become those that must come out."""
    named = all(call.id is not None for call in calls)
    styles = ["indexed", "indexed", "new_ids", "one_call_a_delta", "all_at_once"]
    styles += ["one_index", "no_index"] if named else ["nameless_one_index", "nameless_no_index"]
    style = draw.of(styles)
    if style.startswith("nameless"):
        for call in calls:
            call.id = None
            # A name that nothing follows could be the beginning of the next one.
            call.arguments = call.arguments or {"q": 1}
    if style == "new_ids":
        for call in calls:
            call.id = call.id or f"first_{draw.random.randrange(1 << 30)}"
    # Of one index, or none, two heads of one name without arguments could be one call whose name is repeated.
    apart = style == "indexed" or (
        style in ("one_index", "no_index") and all(call.arguments and not call.custom for call in calls)
    )
    if named and apart and draw.chance(0.3):
        for call in calls:
            call.name = calls[0].name  # a model may call one function several times
    if style == "all_at_once":
        return [_all_at_once(draw, calls)]
    numbering = _numbering(draw, style, len(calls))
    runs = [_run(draw, call, style, numbering[place]) for place, call in enumerate(calls)]
    if style == "indexed" and draw.chance(0.4):
        return _interleaved(draw, runs)
    return [[piece] for run in runs for piece in run]


def function_call_deltas(draw: Draw, call: Call) -> list[dict[str, Any]]:
    """The deltas of a call in the older form, which has no id."""
    call.id = None
    text = _arguments_text(draw, call)
    first = {"name": call.name, **draw.one_of({}, {"arguments": ""}, {"arguments": None})}
    return [{"function_call": first}, *({"function_call": {"arguments": piece}} for piece in draw.pieces(text))]


def _numbering(draw: Draw, style: str, count: int) -> list[Any]:
    """The index of each call; None for none."""
    if style in ("no_index", "nameless_no_index"):
        return [draw.one_of(None, None, "") if draw.chance(0.5) else None] * count
    if style in ("one_index", "nameless_one_index"):
        return [draw.mostly(0, 1, 0.0, "0")] * count
    first = draw.mostly(0, 1, 5, odd=0.2)
    kind = draw.mostly(int, float, str, odd=0.3)
    return [kind(first + place) for place in range(count)]


def _run(draw: Draw, call: Call, style: str, index: Any) -> list[Piece]:
    """The pieces of one call: a head, then its arguments."""
    body_name, text_name = ("custom", "input") if call.custom else ("function", "arguments")
    head: Piece = {"id": call.id, "type": body_name, body_name: {"name": call.name}}
    if call.id is None and draw.chance(0.5):
        del head["id"]
    whole = style in ("nameless_one_index", "nameless_no_index", "one_call_a_delta") and draw.chance(0.8)
    given = _given(draw, call, whole=whole)
    names = [call.name]
    if style == "indexed" and call.id is not None and len(given) > 1 and draw.chance(0.15):
        names = [piece for piece in draw.pieces(call.name, 3) if piece]
    head[body_name]["name"] = names[0]
    pieces = [head]
    pieces += [{body_name: {"name": name}, **draw.one_of({}, {"id": call.id})} for name in names[1:]]
    if len(given) == 1 and len(names) == 1:
        if given[0] is not _ABSENT:
            head[body_name][text_name] = given[0]
    else:
        head[body_name] |= draw.one_of({}, {text_name: ""}, {text_name: None})
        repeats = style == "indexed" and len(names) == 1 and draw.chance(0.15)
        pieces += [_continuing(draw, call, style, part, call.name if repeats else None) for part in given]
    for piece in pieces:
        if index is not None:
            piece["index"] = index
        elif draw.chance(0.2):
            piece["index"] = None
    return pieces


_ABSENT = object()


def _given(draw: Draw, call: Call, *, whole: bool) -> list[Any]:
    """The arguments as they are sent: one value, or the pieces of a text."""
    if not call.custom:
        if call.arguments == {} and draw.chance(0.5):
            return [draw.one_of(_ABSENT, "", None)]
        if draw.chance(0.12):
            return [call.arguments]
    text = _arguments_text(draw, call)
    return [text] if whole else draw.pieces(text, 5, halves=True)


def _arguments_text(draw: Draw, call: Call) -> str:
    call.written = call.written or _written(draw, call)
    return call.written


def _written(draw: Draw, call: Call) -> str:
    if call.custom:
        return str(call.arguments)
    text = json.dumps(
        call.arguments,
        ensure_ascii=draw.chance(0.3),
        separators=draw.one_of((",", ":"), (", ", ": "), (" ,\n", " : ")),
    )
    return draw.mostly(text, " " + text, text + "\n", odd=0.1)


def _continuing(draw: Draw, call: Call, style: str, given: Any, name: str | None) -> Piece:
    """A piece that goes on with the call before it, or with the call of its index."""
    body_name, text_name = ("custom", "input") if call.custom else ("function", "arguments")
    body: dict[str, Any] = {text_name: given}
    if name is not None:
        body["name"] = name
    elif draw.chance(0.3):
        body["name"] = draw.one_of(None, "")
    piece: Piece = {body_name: body}
    if style == "new_ids":
        piece["id"] = f"again_{draw.random.randrange(1 << 30)}"
    elif call.id is not None and draw.chance(0.2):
        piece["id"] = call.id
    elif draw.chance(0.4):
        piece["id"] = draw.of(_NO_IDS)
    if draw.chance(0.3):
        piece["type"] = draw.one_of(body_name, None)
    return piece


def _all_at_once(draw: Draw, calls: list[Call]) -> list[Piece]:
    """Whole calls in one array, as Gemini and whole answers have them: each entry is a call."""
    numbered = draw.chance(0.4)
    no_id = draw.of(_NO_IDS)
    entries = []
    for place, call in enumerate(calls):
        [entry] = _run_whole(draw, call, no_id)
        if numbered:
            entry["index"] = place
        entries.append(entry)
    return entries


def _run_whole(draw: Draw, call: Call, no_id: Any) -> list[Piece]:
    body_name, text_name = ("custom", "input") if call.custom else ("function", "arguments")
    body: dict[str, Any] = {"name": call.name}
    [given] = _given(draw, call, whole=True)
    if given is not _ABSENT:
        body[text_name] = given
    return [{"id": no_id if call.id is None else call.id, "type": body_name, body_name: body}]


def _interleaved(draw: Draw, runs: list[list[Piece]]) -> list[list[Piece]]:
    """The pieces of calls that have indexes of their own, in turn; sometimes several in one delta."""
    together = draw.chance(0.5)
    deltas: list[list[Piece]] = []
    for row in zip_longest(*runs):
        pieces = [piece for piece in row if piece is not None]
        deltas += [pieces] if together else [[piece] for piece in pieces]
    return deltas
