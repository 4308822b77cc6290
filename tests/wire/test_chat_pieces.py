"""The pieces of a delta, whatever its shape."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.chat_pieces import Piece, WholeCharacters, pieces_of

NOTE = {"type": "url_citation", "url_citation": {"url": "https://example.com"}}


@pytest.mark.parametrize(
    ("delta", "pieces"),
    [
        ({}, []),
        ({"role": "assistant", "content": ""}, []),
        ({"content": "a"}, [Piece("text", "a")]),
        ({"content": "a", "refusal": "b"}, [Piece("text", "a"), Piece("refusal", "b")]),
        ({"reasoning_content": "t", "reasoning": "t", "content": "a"}, [Piece("thought", "t"), Piece("text", "a")]),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "t"}]}, [Piece("thought", "t")]),
        ({"content": ["a", {"type": "text", "text": {"value": "b"}}]}, [Piece("text", "a"), Piece("text", "b")]),
        ({"content": [{"type": "thinking", "thinking": [{"text": "t"}]}]}, [Piece("thought", "t")]),
        ({"content": {"type": "refusal", "refusal": "no"}}, [Piece("refusal", "no")]),
        ({"content": [{"type": "image_url", "image_url": {"url": "u"}}]}, [Piece("picture", "u")]),
        (
            {"images": [{"image_url": "u"}, {"type": "image_url", "image_url": {"url": "v"}}]},
            [Piece("picture", "u"), Piece("picture", "v")],
        ),
        ({"annotations": [NOTE, "x"]}, [Piece("citation", "", NOTE)]),
        ({"content": 7}, [Piece("text", "7")]),
    ],
    ids=str,
)
def test_pieces(delta: dict[str, Any], pieces: list[Piece]) -> None:
    assert list(pieces_of(delta)) == pieces


def test_the_halves_of_a_character_meet() -> None:
    characters = WholeCharacters()
    assert characters.take("a\ud83d") == "a"
    assert characters.take("\ude00b") == "😀b"
    assert characters.take("\ud83d") == ""
    assert characters.rest() == "\ufffd"
    assert characters.rest() == ""
    assert characters.take("\ude00") == "\ufffd"
