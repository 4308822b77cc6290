"""Notes for clients: several in one header, each once, and never more than a header may hold."""

from __future__ import annotations

import pytest

from gateway.core.headers import NOTE, note_headers, noted


@pytest.mark.parametrize(
    ("note", "more", "together"),
    [
        (None, None, None),
        (None, "downgraded", "downgraded"),
        ("downgraded", None, "downgraded"),
        ("downgraded", "", "downgraded"),
        ("ignored: style, user", "downgraded", "ignored: style, user; downgraded"),
        ("downgraded; link_instead_of_b64", "downgraded", "downgraded; link_instead_of_b64"),
        ("ignored: style", "ignored: user", "ignored: style; ignored: user"),
    ],
)
def test_a_note_is_joined_to_another(note: str | None, more: str | None, together: str | None) -> None:
    assert noted(note, more) == together


@pytest.mark.parametrize("notes", [(), (None, None), ("", None)])
def test_without_a_note_there_is_no_header(notes: tuple[str | None, ...]) -> None:
    assert note_headers(notes) == ()


def test_all_notes_are_in_one_header_each_of_them_once() -> None:
    notes = ("ignored: style, user", "downgraded", None, "downgraded; link_instead_of_b64", "link_instead_of_b64")
    assert note_headers(notes) == ((NOTE, b"ignored: style, user; downgraded; link_instead_of_b64"),)


@pytest.mark.parametrize(
    "evil", ["ignored: a\r\nset-cookie: x=1", "ignored: \x00", "ignored: caf\u00e9", "\ud800", "x" * 5000]
)
def test_whatever_a_note_holds_it_stays_a_line(evil: str) -> None:
    ((_, value),) = note_headers(("downgraded", evil))
    assert value.startswith(b"downgraded; ")
    assert len(value) <= 1024
    assert all(0x20 <= byte < 0x7F for byte in value)
