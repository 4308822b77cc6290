"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from gateway.core.late_patterns import compiled_late


def test_nothing_is_compiled_before_it_is_used_and_then_once(monkeypatch):
    compiled: list[str] = []
    really = re.compile
    monkeypatch.setattr(re, "compile", lambda *asked: (compiled.append(asked[0]), really(*asked))[1])
    pattern = compiled_late("B+", re.IGNORECASE)
    assert compiled == []
    assert pattern.search("abba")[0] == "bb"
    assert pattern.search("xyz") is None
    assert compiled == ["B+"]


def test_it_does_what_a_pattern_does():
    late, plain = compiled_late(r"(\w)\d", re.ASCII), re.compile(r"(\w)\d", re.ASCII)
    text = "a1 b2"
    assert late.match(text)[1] == plain.match(text)[1]
    assert late.fullmatch(text, 0, 2)[0] == plain.fullmatch(text, 0, 2)[0]
    assert late.sub("-", text) == plain.sub("-", text)
    assert [found[0] for found in late.finditer(text)] == [found[0] for found in plain.finditer(text)]
    assert (late.pattern, late.flags) == (plain.pattern, plain.flags)


def test_what_no_pattern_has_it_has_not():
    with pytest.raises(AttributeError, match="seek"):
        compiled_late("a").seek  # noqa: B018
