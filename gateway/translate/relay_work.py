"""What a request to a relayed route can take at most, for budgets, and what it probably took, for answers that do not
say.

A token is at least one byte of the request, in any vendor's vocabulary. What is spoken or heard has bounds of its own:
a character is spoken in 0.8 s at most, a recording is no longer than its bytes can play (recording_length.py), and a
model hears or speaks at most so many tokens a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from gateway.core.billing_terms import Asked
from gateway.core.pricing.cost_bound import RequestedWork, most_output
from gateway.core.types import Price, Usage
from gateway.translate.relay_stream import RelayStream
from gateway.wire.asked_work import asked_of
from gateway.wire.messages.relayed import as_chat_counts, most_written
from gateway.wire.most_input import UNKNOWN_WINDOW, most_input
from gateway.wire.recording_length import likely_milliseconds, most_milliseconds
from gateway.wire.relay_request import RelayRequest
from gateway.wire.tokens import MOST_COUNTED, rough_tokens, within

_AROUND = 256
"""Tokens that a provider may put around the client's."""

_HEARD_A_SECOND = 20
_WRITTEN_A_SECOND = 10
"""Tokens that a second of a recording is at most, as it is heard (gpt-4o-transcribe: 10), and as words."""

_SPOKEN_A_CHARACTER = 16
_SPOKEN_BESIDE = 1_000
"""Tokens of sound that a character becomes at most, and that may come on top: a second of gpt-4o-mini-tts is some 20
tokens, and 16 characters of English are a second (4,096 in 256 s)."""

_SPOKEN_A_TOKEN = 6
"""Tokens of sound that a token of English text becomes, as measured with gpt-4o-mini-tts."""

_HIDDEN_INPUT = 30_000
_AROUND_OUTPUT = 1_000
_UNSEEN_OUTPUT = 200_000

_KEPT_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
_CALLS_OF_A_TOOL = 10

_UNDER_WAY = ("queued", "in_progress")

_BYTES_A_CHARACTER = {"wav": 3_000, "pcm": 3_000, "flac": 3_000}
_BYTES_A_CHARACTER_PACKED = 1_250
"""Bytes of sound that a character of English takes: 48,000 a second as plain samples, 20,000 as MP3."""


def most_work(request: RelayRequest, *, context: int | None, max_output: int | None) -> RequestedWork:
    """What the request can take at most.

    ``context``: tokens the model takes in and writes together; ``max_output``: what it can write; None if unknown.
    """
    operation = request.route.operation
    size = request.size + _AROUND
    if operation == "completions":
        prompts = _prompts(request.fields.get("prompt"))
        choices = max(request.fields.get("n") or 1, request.fields.get("best_of") or 1) * prompts
        return RequestedWork(size, most_output(request.fields.get("max_tokens"), max_output, choices))
    if operation == "speech":
        characters = _characters(request)
        outputs = characters * _SPOKEN_A_CHARACTER + _SPOKEN_BESIDE
        outputs = outputs if max_output is None else min(outputs, max_output)
        return RequestedWork(within(context, size), outputs, asked=Asked(characters=characters))
    if operation in ("transcriptions", "translations"):
        length = sum(most_milliseconds(file.data) for file in request.files)
        seconds = -(-length // 1000)
        texts = sum(len(text) for _, text in request.entries) * 4 + _AROUND
        outputs = within(context, seconds * _WRITTEN_A_SECOND + _AROUND_OUTPUT)
        outputs = outputs if max_output is None else min(outputs, max_output)
        return RequestedWork(
            within(context, texts + seconds * _HEARD_A_SECOND), outputs, asked=Asked(milliseconds=length)
        )
    if operation == "responses":
        return _most_of_response(request, size, context, max_output)
    if operation == "messages":
        return _most_of_message(request, context, max_output)
    return RequestedWork(size)


def likely_usage(
    request: RelayRequest, price: Price | None, count: Callable[[str], int], written: int, received: int, *, whole: bool
) -> Usage:
    """What the request probably took.

    ``count``: counts a text's tokens. ``written``: tokens of text received; ``received``: bytes of the answer;
    ``whole``: that is all of it.
    """
    operation = request.route.operation
    if operation == "speech":
        return _likely_speech(request, price, count, received, whole=whole)
    if operation in ("transcriptions", "translations"):
        length = sum(likely_milliseconds(file.data) for file in request.files)
        if price is not None and price.seconds is not None:
            return Usage(audio_milliseconds=length, confidence="estimated")
        heard = length * _HEARD_A_SECOND // 2000
        return Usage(heard, 0, written, confidence="estimated", audio_input_tokens=heard)
    tokens = count_inputs(request.fields.get("prompt" if operation == "completions" else "input"), count)
    return Usage(tokens, 0, written, confidence="estimated")


def unseen_output(
    request: RelayRequest, document: Mapping[str, Any], stream: RelayStream, max_output: int | None
) -> int | None:
    """The most tokens that an upstream may write of a response in the background, if it goes on after the answer that
    said so: what it took is told to those alone who ask for it later. None if all has come.
    """
    fields = request.fields
    if request.route.operation != "responses" or fields.get("background") is not True:
        return None
    under_way = document.get("status") in _UNDER_WAY if document else bool(stream.first) and not stream.complete
    asked = fields.get("max_output_tokens")
    return most_output(asked if type(asked) is int else None, max_output) if under_way else None


def believed(usage: Usage | None, request: RelayRequest, answer_bytes: int) -> Usage | None:
    """``usage`` if the bytes on the wire allow it, else None: generous, against lies and faults alone."""
    if usage is None:
        return None
    longest = 4 * sum(most_milliseconds(file.data) for file in request.files) + 60_000
    is_response = request.route.operation == "responses"  # which may go on from what is kept, and think unseen
    plausible = (
        usage.input_tokens <= (UNKNOWN_WINDOW if is_response else request.size + _HIDDEN_INPUT)
        and usage.output_tokens <= answer_bytes + (_UNSEEN_OUTPUT if is_response else _AROUND_OUTPUT)
        and usage.audio_milliseconds <= longest
    )
    return usage if plausible else None


def spoken(request: RelayRequest) -> Usage:
    """What a text that is read aloud is billed by where that is its characters."""
    return Usage(characters=_characters(request))


def count_inputs(given: Any, count: Callable[[str], int]) -> int:
    """Tokens of an input: a text, several, the numbers of tokens, or parts of any kind."""
    texts: list[str] = []
    numbers = 0
    for piece in _pieces(given):
        if isinstance(piece, str):
            texts.append(piece)
        elif isinstance(piece, int):
            numbers += 1
        else:
            texts.append(orjson.dumps(piece).decode())
    if sum(map(len, texts)) + 16 * len(texts) > MOST_COUNTED:
        texts = [" ".join(texts)]
    return numbers + sum(map(count, texts))


def rough_input(request: RelayRequest) -> int:
    """A quick guess at the tokens, for the limit of tokens a minute."""
    if request.route.is_form:
        length = sum(likely_milliseconds(file.data) for file in request.files)
        return length * _HEARD_A_SECOND // 2000
    return rough_tokens(request.size)


def _most_of_message(request: RelayRequest, context: int | None, max_output: int | None) -> RequestedWork:
    """What a message can take: as the same chat, but that thinking is within the client's bound."""
    body = as_chat_counts(request.fields)
    return RequestedWork(
        most_input(body, request.model, context, request.size),
        most_output(most_written(request.fields), max_output),
        asked=asked_of(body, request.model),
    )


def _most_of_response(request: RelayRequest, size: int, context: int | None, max_output: int | None) -> RequestedWork:
    """What a response can take: beside its bytes the pictures and files in it; the whole window where it goes on from
    what is kept at the upstream, or the upstream fetches for it.
    """
    fields = request.fields
    given, tools = fields.get("input"), fields.get("tools")
    items = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
    hosted = [one for one in tools if not _is_clients(one)] if isinstance(tools, list) else []
    window = UNKNOWN_WINDOW if context is None else context
    kept = any(fields.get(name) for name in _KEPT_ELSEWHERE) or any("id" in item and len(item) <= 2 for item in items)
    inputs = window if kept or hosted else min(window, most_input({"messages": items}, request.model, context, size))
    asked, calls, tier = fields.get("max_output_tokens"), fields.get("max_tool_calls"), fields.get("service_tier")
    most_calls = calls if type(calls) is int and calls > 0 else _CALLS_OF_A_TOOL * len(hosted)
    return RequestedWork(
        inputs,
        most_output(asked if type(asked) is int else None, max_output),
        asked=Asked(tier=tier if isinstance(tier, str) else None, calls=most_calls if hosted else 0),
    )


def _is_clients(tool: Any) -> bool:
    """Whether a tool is run by the client, so that it costs no more than its words."""
    return isinstance(tool, dict) and tool.get("type") in ("function", "custom")


def _pieces(given: Any) -> Iterator[Any]:
    for piece in given if isinstance(given, list) else [given]:
        if isinstance(piece, list):
            yield from piece
        elif piece is not None:
            yield piece


def _likely_speech(
    request: RelayRequest, price: Price | None, count: Callable[[str], int], received: int, *, whole: bool
) -> Usage:
    characters = _characters(request)
    each = _BYTES_A_CHARACTER.get(str(request.fields.get("response_format")), _BYTES_A_CHARACTER_PACKED)
    part = characters if whole or not received else min(characters, received // each)
    if price is not None and price.characters is not None:
        return Usage(characters=part, confidence="estimated")
    given, instructions = request.fields.get("input"), request.fields.get("instructions")
    text = count_inputs(given, count)
    sound = text * _SPOKEN_A_TOKEN * part // max(1, characters)
    words = text + count_inputs(instructions, count)
    return Usage(words, 0, sound, confidence="estimated", audio_output_tokens=sound)


def _characters(request: RelayRequest) -> int:
    given = request.fields.get("input")
    return len(given) if isinstance(given, str) else request.size


def _prompts(prompt: Any) -> int:
    """How many prompts a completion has: a list of texts, or of lists of tokens."""
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return len(prompt)
    return 1


def expected_choices(request: RelayRequest) -> int:
    """How many texts the answer has, each of which says that it is complete."""
    if request.route.operation != "completions":
        return 1
    return (request.fields.get("n") or 1) * _prompts(request.fields.get("prompt"))
