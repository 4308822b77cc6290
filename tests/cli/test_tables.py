"""Plain tables line up, with any text in their cells."""

from __future__ import annotations

from gateway.cli.tables import render


def test_columns_line_up_numbers_to_the_right() -> None:
    rows: list[dict[str, object]] = [
        {"key": "alice", "cost_usd": "12.50", "team": "growth"},
        {"key": "bob", "cost_usd": "0.00066", "team": None},
    ]
    assert render(rows, ["key", "cost_usd", "team"], right=frozenset({"cost_usd"})).split("\n") == [
        "key    cost usd  team",
        "alice     12.50  growth",
        "bob     0.00066  -",
    ]


def test_what_is_missing_or_empty_is_a_dash_and_zero_is_not() -> None:
    rows: list[dict[str, object]] = [{"a": None, "b": "", "c": 0, "d": False}]
    assert render(rows, ["a", "b", "c", "d", "e"]).split("\n") == ["a  b  c  d      e", "-  -  0  False  -"]


def test_without_rows_there_is_the_heading() -> None:
    assert render([], ["key", "input_tokens"]) == "key  input tokens"


def test_control_characters_cannot_move_the_cursor() -> None:
    table = render([{"key": "a\x1b[2J\nb\r\u202ec"}], ["key"])
    assert table == "key\na?[2J?b??c"


def test_wide_characters_take_two_places() -> None:
    rows = [{"key": "团队", "n": 1}, {"key": "team", "n": 2}]
    assert render(rows, ["key", "n"]).split("\n") == ["key   n", "团队  1", "team  2"]


def test_no_line_ends_in_blanks() -> None:
    lines = render([{"a": "long enough", "b": "x"}, {"a": "s", "b": "longer"}], ["a", "b"]).split("\n")
    assert all(line == line.rstrip() for line in lines)
