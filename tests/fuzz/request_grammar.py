"""Odd chat requests: what is meant, what is wrong with it, and the bytes of it.

The gateway checks what it acts on and passes what it does not (contract, "What is checked, what passes"). So each
request knows what of it the gateway acts on is wrong; everything else about it may be as odd as it likes.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.drawing import Draw
from tests.fuzz.meaning import COMPLETE
from tests.fuzz.streams import play_stream, stream_case

ABSENT = object()
_ORDERED = ("Qubico/flux1-schnell", "Qubico/flux1-dev")
_UNKNOWN = ("gpt-99", "no/such:model")
STEERING = ("models", "provider", "route", "fallbacks", "plugins", "api_key", "api_base", "base_url", "webhook_config")
"""Fields that go to no upstream (contract)."""

_NEWER: dict[str, tuple[Any, ...]] = {
    "temperature": (0, 5, -1, "hot", None, 1e300, [0.5]),
    "top_p": (1.5, True, {}),
    "reasoning_effort": ("xhigh", "none", {"level": 3}, 7, None),
    "response_format": (
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "json",
        {"type": "yaml"},
        [],
    ),
    "tools": ([], {}, [{"type": "computer_2027"}], [{"function": {"name": "f"}}, None, 5], "tools", [[]]),
    "tool_choice": ("any", {"type": "allowed_tools"}, 5, ["f"]),
    "seed": (2**63 - 1, -1, "x", 1.5),
    "stop": ("", [], 5, ["a"] * 9, {"x": 1}),
    "logit_bias": ({"50256": -1000}, [], "x"),
    "logprobs": (True, 5, "x"),
    "top_logprobs": (99, -1, "x"),
    "modalities": (["text", "audio"], "text", ["hologram"]),
    "audio": ({"voice": "newer", "format": "wav"}, "x"),
    "service_tier": ("flex", "ultrafast", 5, None),
    "metadata": ({}, {"a": 1}, "m", [1]),
    "user": ("", 5, "u" * 600, {"id": 1}),
    "thinking": ({"type": "enabled", "budget_tokens": 99}, {"type": "adaptive"}, True, "on", {"budget_tokens": "many"}),
    "prediction": ({"type": "content", "content": [1]}, None),
    "web_search_options": ({}, True),
    "functions": ([], "x", [{"name": 5}]),
    "function_call": ("auto", 5, {"name": "f"}),
    "parallel_tool_calls": ("yes", False),
    "store": ("x", True),
    "extra_body": ({"x": 1},),
    "timeout": (0,),
    "stream_option": ({"include_usage": 1},),
}

_WRONG: dict[str, tuple[Any, ...]] = {
    "model": (ABSENT, None, 5, [], {}, "", "two words", True, "m" * 300),
    "messages": (ABSENT, None, [], {}, "hi", 5, True, [5], ["hi"], [None], [[]]),
    "n": (0, -1, 129, "2", 1.5, True, [], {}),
    "max_tokens": (0, -5, "many", 1.5, [], True),
    "max_completion_tokens": (0, -5, "many", {}, False),
    "stream": ("true", 1, 0, [], {}),
    "stream_options": ("x", [], 5, True),
    "stream_options.include_usage": ("yes", 1, [], {}),
}
"""Fields that the gateway acts on, and values of them that are wrong."""

_HALF = re.compile("[\ud800-\udfff]")


@dataclass
class RequestCase:
    """A request. ``wrong``: the fields that the gateway acts on and that are wrong; any may be named. ``unreadable``:
    statuses one of which is due because its bytes are no request. ``document``: what is meant, if it can be read.
    ``free``: it is for a model whose orders have rules of their own, or for none: any answer but a 5xx will do."""

    seed: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    unreadable: tuple[int, ...] = ()
    free: bool = False


def request_case(seed: int) -> RequestCase:
    """The case of this seed."""
    draw = Draw(f"request {seed}")
    model = draw.mostly("gpt-4o", "gpt-4o-mini", "gpt-4o-image", *_ORDERED, *_UNKNOWN, odd=0.3)
    document = _usual(draw, model)
    for _ in range(draw.number(0, 3)):
        name = draw.of(tuple(_NEWER))
        document[name] = draw.of(_NEWER[name])
    for place in range(draw.number(0, 2)):
        document[f"x_new_{place}" if draw.chance(0.8) else draw.text(2)] = draw.value(3)
    if draw.chance(0.12):
        document[draw.of(STEERING)] = draw.value()
    wrong = _spoil(draw, document) if draw.chance(0.2) else []
    if draw.chance(0.03):
        document["x_big"] = draw.one_of("x" * 1_000_000, ["x"] * 20_000, '\\"' * 100_000, "😀" * 100_000)
    deep = draw.mostly(0, 150, 400, odd=0.04)
    if deep:
        document["x_deep"] = _nested(deep)
    case = RequestCase(seed, b"", {}, document, wrong)
    case.free = document.get("model") in (*_ORDERED, *_UNKNOWN)
    if deep == 400:
        case.unreadable = (400,)
    _write(draw, case)
    return case


def _usual(draw: Draw, model: str) -> dict[str, Any]:
    """A document with fields that the gateway acts on, all of them right."""
    document: dict[str, Any] = {"model": model, "messages": _messages(draw)}
    if draw.chance(0.4):
        document["stream"] = draw.one_of(True, True, False, None)
    if draw.chance(0.25):
        document["stream_options"] = draw.one_of(
            None, {}, {"include_usage": True}, {"include_usage": None}, {"newer": [1], "include_usage": False}
        )
    if draw.chance(0.15):
        document["n"] = draw.one_of(None, 1, 2, 3)
    if draw.chance(0.2):
        document[draw.one_of("max_tokens", "max_completion_tokens")] = draw.one_of(None, 1, 77, 1 << 33)
    return document


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _messages(draw: Draw) -> list[dict[str, Any]]:
    messages = [_message(draw) for _ in range(draw.number(1, 4))]
    if draw.chance(0.15):
        messages += _folded_history(draw)
    return messages


def _message(draw: Draw) -> dict[str, Any]:
    message: dict[str, Any] = {"role": draw.mostly("user", "system", "assistant", "developer", "critic", None, 5)}
    if draw.chance(0.03):
        del message["role"]
    message["content"] = _content(draw)
    if draw.chance(0.05):
        del message["content"]
    if draw.chance(0.12):
        message |= {"role": "assistant", "tool_calls": draw.one_of(
            [{"id": "c", "type": "function", "function": {"name": "f"}}],
            [{"function": {"name": "f", "arguments": {"a": 1}}}],
            [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}],
            [], None, "x", [None], [{}],
        )}  # fmt: skip
    if draw.chance(0.08):
        message |= {"role": "tool", "tool_call_id": draw.one_of("c", None, 5, "")}
    if draw.chance(0.1):
        message[draw.one_of("reasoning_content", "thinking_blocks", "name", "refusal", "x_new", "audio")] = draw.value()
    return message


def _content(draw: Draw) -> Any:
    kind = draw.number(0, 9)
    if kind < 5:
        text = draw.text(20)
        return text + draw.one_of("", "", "", "\ud83d", "\ude00 x", "x" * 9000)
    if kind < 8:
        return [_part(draw) for _ in range(draw.number(0, 3))]
    return draw.one_of(None, "", 5, {"type": "text", "text": "hi"}, [], True)


def _part(draw: Draw) -> Any:
    return draw.one_of(
        {"type": "text", "text": draw.text()},
        {"type": "text"},
        {"text": "hi"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "newest"}},
        {"type": "image_url", "image_url": "https://example.org/a.png"},
        {"type": "hologram", "hologram": draw.value()},
        {"type": "input_audio", "input_audio": {"data": "", "format": "opus"}},
        {"type": "file", "file": {"file_data": 5}},
        {"type": "text", "text": 5, "cache_control": {"type": "ephemeral"}},
        "hi",
        None,
        5,
        {},
    )


def _folded_history(draw: Draw) -> list[dict[str, Any]]:
    """An odd stream, folded, as a client sends it back with the results of its calls (issue, part 2)."""
    seed = draw.random.randrange(1 << 30)
    while True:
        case = stream_case(seed)
        if case.meaning.ending in COMPLETE and not case.streamed:
            _, answer = play_stream(case)
            if answer is not None:
                break
        seed += 1
    message = json.loads(answer)["choices"][0]["message"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": draw.text()} for call in message.get("tool_calls") or ()
    ]
    return [message, *results]


def _spoil(draw: Draw, document: dict[str, Any]) -> list[str]:
    """Make something wrong that the gateway acts on; returns what."""
    names = [draw.of(tuple(_WRONG)) for _ in range(draw.mostly(1, 2))]
    for name in names:
        value = draw.of(_WRONG[name])
        outer, _, inner = name.partition(".")
        if inner:
            document[outer] = {"include_usage": value}
        elif value is ABSENT:
            document.pop(name, None)
        else:
            document[name] = value
    return [
        name for name in names if not (name == "stream_options.include_usage" and "stream_options" in names)
    ] or names


def _write(draw: Draw, case: RequestCase) -> None:
    text = json.dumps(case.document, ensure_ascii=draw.chance(0.5), indent=draw.mostly(None, 1, odd=0.1))
    if _HALF.search(text) is not None:
        text = json.dumps(case.document, ensure_ascii=True)
    if draw.chance(0.05):  # the last of two equal keys wins (contract)
        text = '{"model": "other", "messages": 5, "n": -3, ' + text.lstrip()[1:]
        if "n" not in case.document or "model" not in case.document or "messages" not in case.document:
            case.document = {"model": "other", "messages": 5, "n": -3, **case.document}
            case.wrong = [*case.wrong, *(name for name in ("n", "messages") if case.document[name] in (5, -3))]
    body = draw.mostly(b"", b"\xef\xbb\xbf", b" \n", odd=0.1) + text.encode() + draw.one_of(b"", b"\n")
    if draw.chance(0.04):
        body, case.unreadable = _unreadable(draw, body), (400,)
    case.body = _coded(draw, case, body)
    if draw.chance(0.1):
        case.headers["content-type"] = draw.one_of(
            "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"
        )


def _coded(draw: Draw, case: RequestCase, body: bytes) -> bytes:
    """The body in some coding, which the case's headers name."""
    coding = draw.mostly("", "gzip", "deflate", "identity", "GZIP", "br", "raw deflate", "broken", odd=0.2)
    if coding in ("gzip", "GZIP"):
        body, case.headers["content-encoding"] = gzip.compress(body), coding
    elif coding == "deflate":
        body, case.headers["content-encoding"] = zlib.compress(body), coding
    elif coding == "raw deflate":
        packer = zlib.compressobj(wbits=-15)
        body, case.headers["content-encoding"] = packer.compress(body) + packer.flush(), "deflate"
    elif coding == "br":
        case.headers["content-encoding"], case.unreadable = "br", (415,)
    elif coding == "broken":
        body, case.unreadable = gzip.compress(body)[:-9], (400,)
        case.headers["content-encoding"] = "gzip"
    elif coding == "identity":
        case.headers["content-encoding"] = "identity"
    return body


def _unreadable(draw: Draw, body: bytes) -> bytes:
    return draw.one_of(
        b"",
        b"[]",
        b'"hi"',
        b"null",
        body.rstrip()[:-1],
        body + b"x",
        b"{" + body,
        body.rstrip()[:-1] + b', "x": NaN}',
        body.rstrip()[:-1] + b', "x": 123456789012345678901234567890}',
        body.rstrip()[:-1] + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x\ny"}]}',
    )
