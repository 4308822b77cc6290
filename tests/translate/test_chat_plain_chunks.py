"""Chunks that differ only in their text are not parsed, and streams may be cut anywhere: that must show in nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.chat_template import ContentTemplate
from gateway.wire.sse import SSEParser

from .chat import ASKING, PIECES, STREAM, STREAM_HEAD, USAGE, chunk, conversation, delta
from .transcript import emitted, play

RICH = b"".join(
    [
        b"\n: hello\n\n",
        PIECES["role"],
        PIECES["hello"],
        PIECES["world"],
        chunk(delta(content="ümläut 漢字 🙂")),
        PIECES["escaped"],
        PIECES["world"],
        PIECES["hello"],
        b": in between\n\n",
        PIECES["world"],
        PIECES["world"].replace(b"data: ", b"data:").replace(b"\n\n", b"\r\n\r\n"),
        PIECES["world"],
        chunk(delta(content=" running"), usage=USAGE),
        chunk(delta(content=" none"), usage=None),
        chunk(delta(content=" none more"), usage=None),
        chunk(delta(content="second", index=1)),
        chunk(delta(content=" choice", index=1)),
        PIECES["world"],
        chunk(delta(content=" listed"), system_fingerprint="fp"),
        chunk(delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"content":"'}}])),
        PIECES["world"],
    ]
)
DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "", "x": False},
    *({"role": "assistant", "content": None, "reasoning_content": word} for word in ("Hm", ", ", '"so"\n')),
    {"content": "It ", "x": False},
    {"content": "is"},
    {"content": " so", "x": True},
    *({"content": word, "x": False} for word in (" a", "\n", '"b"', "\\", " 🙂")),
    *({"refusal": word} for word in ("No", ", no")),
    {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    *({"tool_calls": [{"index": 0, "function": {"arguments": word}}]} for word in ("{", '"a"', ":", '"', "b", '"}')),
    {"content": "and"},
    {"content": " more"},
]
OTHER_TEXTS = b"".join(
    chunk(delta(**said), system_fingerprint="fp" if place % 9 else "other", obfuscation="a" * (place % 5))
    for place, said in enumerate(DELTAS)
)
"""What reasoning models and agents stream, padded as OpenAI does it."""

ENDINGS = {
    "done": PIECES["finish"] + chunk(delta("stop", index=1)) + PIECES["usage"] + PIECES["done"],
    "unfinished": b"",
    "error": PIECES["error"] + PIECES["world"],
    "nonsense": PIECES["nonsense"] + PIECES["done"],
    "trouble after the finish": PIECES["finish"]
    + chunk(delta("stop", index=1))
    + PIECES["error"]
    + PIECES["nonsense"]
    + PIECES["usage"]
    + PIECES["done"],
    "no usage": chunk(delta("stop"), delta("stop", index=1)) + PIECES["done"],
}


def result(told: list[bytes], n: int = 2, **fields: Any) -> dict[str, Any]:
    """Everything that shows of a conversation."""
    talk = conversation(n=n, **fields)
    pieces = [piece for piece in told if piece]
    said, outcome = play(talk, [STREAM_HEAD, *pieces, b""])
    return {
        "emitted": emitted(said),
        "answer": talk.answer,
        "outcome": outcome,
        "usage": talk.usage,
        "estimate": talk.estimate(),
        "progress": talk.progress,
    }


@pytest.mark.parametrize("fields", [{}, STREAM, ASKING], ids=["whole", "unasked", "asked"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_wherever_the_stream_is_cut_into_pieces(ending: str, fields: dict[str, Any]) -> None:
    data = RICH + ENDINGS[ending]
    wanted = result([data], **fields)
    assert wanted["outcome"].ok == (ending in ("done", "trouble after the finish", "no usage"))
    step = 1 if ending in ("done", "trouble after the finish") and fields is STREAM else 7
    for place in range(1, len(data), step):
        assert result([data[:place], data[place:]], **fields) == wanted, f"cut at {place}"
    for size in (1, 2, 50):
        assert result([data[at : at + size] for at in range(0, len(data), size)], **fields) == wanted


@pytest.mark.parametrize("rich", [RICH, OTHER_TEXTS, OTHER_TEXTS + RICH], ids=["content", "others", "both"])
@pytest.mark.parametrize("fields", [{}, STREAM, ASKING], ids=["whole", "unasked", "asked"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_parsing_all_of_them_comes_to_the_same(
    ending: str, fields: dict[str, Any], rich: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rich + ENDINGS[ending]
    events = [event + b"\n\n" for event in data.split(b"\n\n")]
    quick = result(events, **fields)
    read = _reads(monkeypatch)
    assert result(events, **fields) == quick
    assert sum(texts is not None for texts in read) >= 5  # it was not the slow way all along
    monkeypatch.setattr(ContentTemplate, "texts", lambda *_: None)
    assert result(events, **fields) == quick
    assert result([b"".join(events)], **fields) == quick
    monkeypatch.undo()
    assert result([b"".join(events)], **fields) == quick
    for size in (2, 3, 7, 20):
        assert result([b"".join(events[at : at + size]) for at in range(0, len(events), size)], **fields) == quick


def _reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the quick way returned."""
    read: list[object] = []
    quick = ContentTemplate.texts

    def reading(template: ContentTemplate, data: bytes) -> list[str] | None:
        read.append(quick(template, data))
        return read[-1]  # type: ignore[return-value]

    monkeypatch.setattr(ContentTemplate, "texts", reading)
    return read


def call(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments}, **more}


def head(name: str, index: int) -> dict[str, Any]:
    return call("", index, id=f"call_{index}", type="function") | {"function": {"name": name, "arguments": ""}}


def padded(text: str, padding: str) -> bytes:
    return chunk(delta(content=text), obfuscation=padding)


WORDS = st.sampled_from(
    [
        *(PIECES[name] for name in ("role", "hello", "world", "escaped", "comment", "finish", "usage", "done")),
        *(PIECES[name].replace(b"\n\n", b"\r\n\r\n") for name in ("hello", "world", "escaped")),
        *(PIECES[name].replace(b"data: ", b"data:") for name in ("hello", "world")),
        *(chunk(delta(content=text)) for text in ("✓", "🙂", "", '{"a":', "\\")),
        *(chunk(delta(content=text), system_fingerprint=mark) for text in "ab" for mark in ("fp_1", "fp_2")),
        *(chunk(delta(content=text, index=1)) for text in ("one", "two")),
        *(chunk(delta(content=text), citations=["https://a.example"], scores=[1, 2]) for text in "ab"),
        *(chunk(delta(content=text) | {"notes": [{"index": 0, "text": "n"}]}) for text in "ab"),
        *(chunk(delta(content=None, reasoning_content=text)) for text in ("Hm", ", so")),
        *(chunk(delta(reasoning=text, content="")) for text in ("Hm", ", so")),
        *(chunk(delta(refusal=text)) for text in ("No", ", no")),
        *(chunk(delta(tool_calls=[head(name, index)])) for index, name in enumerate(("f", "g"))),
        *(chunk(delta(tool_calls=[call(text, index)])) for index in (0, 1) for text in ("{", '"a":1', "}", "{}", " ")),
        *(chunk(delta(tool_calls=[call(text, 0, type="function", id=id)])) for text in ("{", "}") for id in ("", "x")),
        *(chunk(delta(tool_calls=[{"function": {"arguments": text}}])) for text in ("{", "}")),
        *(padded(text, padding) for text in ("pad", '"', "✓") for padding in ("", "aB3", "x")),
        chunk(delta(content=[{"type": "text", "text": "part"}, {"type": "image_url", "image_url": {"url": "u"}}])),
        chunk({"index": 0, "message": {"role": "assistant", "content": "Hello world"}, "finish_reason": None}),
        chunk(delta("stop", content="last")),
        chunk(delta(content="x"), usage=USAGE),
        chunk(delta(content="x") | {"logprobs": {"content": [{"token": "x"}]}}),
        b"data: \xe2\x9c\n\n",
        b"event: ping\ndata: {}\n\n",
        b"id: 7\ndata: {}\n\n",
        b"data: {}\n\n",
        b"\n",
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream of which each word comes several times, and the pieces it is cut into."""
    told = draw(st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=3), st.integers(1, 4)), max_size=6))
    data = b"".join(b"".join(words) * times for words, times in told) + draw(st.sampled_from([*ENDINGS.values()]))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    blank_lines = [match.end() for match in re.finditer(rb"\n\r?\n", data)]
    if draw(st.booleans()) and blank_lines:  # between events, as most pieces are cut
        cuts = sorted(draw(st.lists(st.sampled_from(blank_lines), max_size=8)))
    return data, [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("fields", [{}, STREAM, ASKING], ids=["whole", "unasked", "asked"])
@pytest.mark.parametrize("n", [1, 2])
@given(told=streams())
@settings(deadline=None, max_examples=150)
def test_any_stream_in_any_pieces_means_what_it_means_event_by_event(
    n: int, fields: dict[str, Any], told: tuple[bytes, list[bytes]]
) -> None:
    data, pieces = told
    quick = result(pieces, n=n, **fields)
    with pytest.MonkeyPatch.context() as slowly:
        slowly.setattr(ContentTemplate, "texts", lambda *_: None)
        assert result(pieces, n=n, **fields) == quick
        slowly.setattr(SSEParser, "lets_pass", lambda *_: False)
        assert result([data], n=n, **fields) == quick


PLAIN = {
    "text": [chunk(delta(content=word)) for word in "abcd"],
    "reasoning": [chunk(delta(reasoning_content=word)) for word in "abcd"],
    "arguments": [chunk(delta(tool_calls=[call(word)])) for word in ("{", '"a"', ":1", "}")],
    "padded": [padded(word, word * place) for place, word in enumerate("abcd")],
}
BETWEEN = {
    **{name: PIECES[name] for name in ("role", "finish", "usage", "comment", "escaped")},
    "calls": chunk(delta(tool_calls=[head("f", 0)])),
    "another call": chunk(delta(tool_calls=[head("g", 1)])),
    "arguments of another call": chunk(delta(tool_calls=[call("{", 1)])),
    "another choice": chunk(delta(content="x", index=1)),
    "parts": chunk(delta(content=[{"type": "image_url", "image_url": {"url": "u"}}])),
    "a part of text": chunk(delta(content=[{"type": "text", "text": "part"}])),
    "a message": chunk({"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": None}),
    "another mark": chunk(delta(content="x"), system_fingerprint="fp_2"),
    "a mark alone": chunk(delta(), system_fingerprint="fp_3"),
    "half a comment": b": half",
    "a line of data": b"data: {\n",
    "half an event": PIECES["world"][:-1],
    "a name": b"event: ping\n",
}


@pytest.mark.parametrize("fields", [{}, STREAM, ASKING], ids=["whole", "unasked", "asked"])
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("between", BETWEEN)
def test_what_came_between_two_plain_chunks_counts(
    between: str, kind: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    head_of_call = [BETWEEN["calls"]] if kind == "arguments" else []
    told = [[*head_of_call, *PLAIN[kind][:2], BETWEEN[between], *PLAIN[kind][2:], end] for end in ENDINGS.values()]
    quick = [(result(pieces, n, **fields), result([b"".join(pieces)], n, **fields)) for pieces in told for n in (1, 2)]
    monkeypatch.setattr(ContentTemplate, "texts", lambda *_: None)
    slow = [result(pieces, n, **fields) for pieces in told for n in (1, 2)]
    assert quick == [(each, each) for each in slow]


@pytest.mark.parametrize("fields", [{}, STREAM, ASKING], ids=["whole", "unasked", "asked"])
@pytest.mark.parametrize("usage", [{}, None, 0, USAGE], ids=["empty", "null", "zero", "full"])
def test_whatever_usage_every_chunk_carries(
    usage: Any, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        *(chunk(delta(content=word), usage=usage) for word in ("one", " two", " three")),
        *(chunk(delta(content=word, index=1), usage=usage) for word in ("one", " two", " three")),
        ENDINGS["done"],
    ]
    quick = result(events, **fields)
    monkeypatch.setattr(ContentTemplate, "texts", lambda *_: None)
    assert result(events, **fields) == quick
