"""Chunks that differ only in their text are not parsed, and streams may be cut anywhere: that must show in nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.chat_template import ContentTemplate

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


def result(told: list[bytes], **fields: Any) -> dict[str, Any]:
    """Everything that shows of a conversation."""
    talk = conversation(n=2, **fields)
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
