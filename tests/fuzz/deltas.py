"""What one choice says, as the deltas (or messages) that upstreams of many kinds send."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from tests.fuzz.call_shapes import call_pieces, function_call_deltas
from tests.fuzz.drawing import Draw
from tests.fuzz.meaning import Call, Said

Step = dict[str, Any]
"""The fields of one choice in one chunk, less its index: ``delta`` or ``message``, ``logprobs``, and so on."""


def steps_of(draw: Draw, said: Said) -> list[Step]:
    """The content of a choice in order, without its finish reason."""
    style = (
        "deltas"
        if said.thoughts or said.citations
        else draw.mostly("deltas", "growing", "pieces", "whole", "both", "beside", "text", "bare", odd=0.16)
    )
    if style == "growing":
        return _growing(draw, said)
    if style == "pieces" and said.text:
        return _in_pieces(draw, said)
    if style in ("beside", "text", "bare") and _only_text(said):
        return _text_elsewhere(draw, said, style)
    if style == "whole":
        return [{"message": message_of(draw, said)}]
    steps = _deltas(draw, said)
    if style == "both":
        steps.append({"message": message_of(draw, said)})
    return steps


def message_of(draw: Draw, said: Said) -> dict[str, Any]:
    """The whole message, as an answer that is not streamed has it."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text or draw.one_of(None, "")}
    if said.reasoning:
        message[draw.one_of("reasoning_content", "reasoning")] = said.reasoning
    if said.refusal:
        message["refusal"] = said.refusal
    if said.thoughts:
        message[said.thoughts_name] = said.thoughts
    if said.citations:
        message["annotations"] = _annotations(said.citations)
    if said.older:
        message["function_call"] = _body(said.calls[0])
    elif said.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
            if call.custom
            else {"id": call.id, "type": "function", "function": _body(call)}
            for call in said.calls
        ]
    return message


def _body(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.written or json.dumps(call.arguments)}


def _growing(draw: Draw, said: Said) -> list[Step]:
    """A ``message`` in each chunk that holds all so far."""
    steps: list[Step] = []
    so_far = ""
    for piece in draw.pieces(said.text, 4):
        so_far += piece
        steps.append({"message": {"role": "assistant", "content": so_far}})
    return [*steps, {"message": message_of(draw, said)}]


def _only_text(said: Said) -> bool:
    return bool(said.text) and not (said.reasoning or said.calls or said.refusal or said.thoughts or said.citations)


def _text_elsewhere(draw: Draw, said: Said, style: str) -> list[Step]:
    """A text beside or in place of the deltas: a growing message beside them, ``text``, or a delta that is the text."""
    pieces = [piece for piece in draw.pieces(said.text, 5) if piece]
    if style == "text":
        return [{"text": piece, **draw.one_of({}, {"delta": None}, {"delta": {}})} for piece in pieces]
    if style == "bare":
        return [{"delta": piece if draw.chance(0.7) else [{"type": "text", "text": piece}]} for piece in pieces]
    steps: list[Step] = []
    so_far = ""
    for piece in pieces:
        so_far += piece
        steps.append({"delta": {"content": piece}, "message": {"role": "assistant", "content": so_far}})
    return steps


def _in_pieces(draw: Draw, said: Said) -> list[Step]:
    """A ``message`` in each chunk that holds what is new."""
    pieces = [piece for piece in draw.pieces(said.text, 4) if piece]
    while len(pieces) > 1 and all(later.startswith(earlier) for earlier, later in pairwise(pieces)):
        pieces = [said.text]  # these would look like a message that grows
    rest = {name: value for name, value in message_of(draw, said).items() if name != "content"}
    return [*({"message": {"role": "assistant", "content": piece}} for piece in pieces), {"message": rest}]


def _deltas(draw: Draw, said: Said) -> list[Step]:
    deltas: list[dict[str, Any]] = []
    if draw.chance(0.7):
        deltas.append(
            {"role": draw.mostly("assistant", "", None, odd=0.1), **draw.one_of({}, {"content": ""}, {"content": None})}
        )
    deltas += _thinking(draw, said)
    deltas += _texts(draw, said)
    deltas += [{"refusal": piece} for piece in draw.pieces(said.refusal, 3) if piece]
    if said.calls:
        if len(said.calls) == 1 and not said.calls[0].custom and draw.chance(0.06):
            deltas += function_call_deltas(draw, said.calls[0])
            said.older = True
            said.finish = said.finish and draw.one_of("function_call", "stop")
        else:
            deltas += [{"tool_calls": pieces} for pieces in call_pieces(draw, said.calls)]
            for delta in deltas:
                if len(delta.get("tool_calls") or ()) == 1 and draw.chance(0.05):
                    [delta["tool_calls"]] = delta["tool_calls"]
    if said.citations:
        _cite(draw, said, deltas)
    steps: list[Step] = [{"delta": _padded(draw, delta)} for delta in _merged(draw, deltas)]
    if said.text and draw.chance(0.15):
        _add_logprobs(draw, said, steps)
    return steps


def _thinking(draw: Draw, said: Said) -> list[dict[str, Any]]:
    if said.thoughts:
        return _entries(draw, said)
    if not said.reasoning:
        return []
    pieces = draw.pieces(said.reasoning, 4, halves=True)
    style = draw.of(("reasoning_content", "reasoning", "both_names", "parts"))
    if style == "parts":
        # Mistral: thoughts are parts of the content.
        return [
            {"content": [{"type": "thinking", "thinking": draw.one_of(piece, [{"type": "text", "text": piece}])}]}
            for piece in pieces
            if piece
        ]
    names = ("reasoning_content", "reasoning") if style == "both_names" else (style,)
    return [dict.fromkeys(names, piece) for piece in pieces]


def _entries(draw: Draw, said: Said) -> list[dict[str, Any]]:
    """Signed thoughts in fragments: text first, the signature with the last piece or after it."""
    deltas = []
    growing = "text" if said.thoughts_name == "reasoning_details" else "thinking"
    indexed = draw.chance(0.7)
    for entry in said.thoughts:
        labels = {name: value for name, value in entry.items() if name not in (growing, "signature", "index")}
        if indexed:
            labels["index"] = entry["index"]
        fragments = [{**labels, growing: piece} for piece in draw.pieces(entry[growing], 4) if piece]
        if draw.chance(0.5):
            fragments[-1]["signature"] = entry["signature"]
        else:
            fragments.append({**labels, "signature": entry["signature"]})
        deltas += [{said.thoughts_name: [fragment]} for fragment in fragments]
    if not indexed:
        for entry in said.thoughts:
            del entry["index"]
    return deltas


def _texts(draw: Draw, said: Said) -> list[dict[str, Any]]:
    pieces = draw.pieces(said.text, 6, halves=True)
    if said.text and draw.chance(0.08):
        parts = [{"type": "text", "text": piece} for piece in pieces if piece]
        return [{"content": part if draw.chance(0.2) else [part]} for part in parts]
    return [{"content": _number(draw, piece)} for piece in pieces if piece or draw.chance(0.3)]


def _number(draw: Draw, piece: str) -> Any:
    """A piece of digits as the number that a careless relay makes of it."""
    return int(piece) if piece in ("0", "1", "5") and draw.chance(0.3) else piece


def _annotations(urls: list[str]) -> list[dict[str, Any]]:
    return [{"type": "url_citation", "url_citation": {"url": url, "title": f"Page {url[-1]}"}} for url in urls]


def _cite(draw: Draw, said: Said, deltas: list[dict[str, Any]]) -> None:
    """Citations in every delta, all or as many as are known by then."""
    entries = _annotations(said.citations)
    grows = draw.chance(0.5)
    if not deltas:
        deltas.append({})
    for place, delta in enumerate(deltas):
        delta["annotations"] = entries[: place + 1] if grows and place + 1 < len(deltas) else entries


def _merged(draw: Draw, deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours without a field in common put into one delta, here and there."""
    merged: list[dict[str, Any]] = []
    for delta in deltas:
        if merged and draw.chance(0.15) and not merged[-1].keys() & delta.keys():
            merged[-1] = {**merged[-1], **delta}
        else:
            merged.append(dict(delta))
    return merged


def _padded(draw: Draw, delta: dict[str, Any]) -> dict[str, Any]:
    """The delta with fields that say nothing."""
    nothing = {
        "content": draw.one_of(None, ""),
        "tool_calls": draw.one_of(None, []),
        "function_call": None,
        "refusal": None,
        "reasoning_content": draw.one_of(None, ""),
        "reasoning": None,
        "audio": None,
        "error": None,
        "role": "assistant",
    }
    for name, value in nothing.items():
        if name not in delta and draw.chance(0.08):
            delta[name] = value
    return delta


def _add_logprobs(draw: Draw, said: Said, steps: list[Step]) -> None:
    for step in steps:
        if step["delta"].get("content"):
            odd = draw.one_of(float("nan"), float("-inf"), float("inf"), -9999.0, None)
            entry = {"token": "x", "logprob": draw.mostly(-0.25, odd), "bytes": None, "top_logprobs": []}
            step["logprobs"] = {"content": [entry], "refusal": None}
            said.tokens += 1
