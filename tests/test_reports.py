"""What was spent: moments as people write them, fields, and rows for eyes, for spreadsheets and for scripts."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports import SystemClock
from gateway.reports import (
    FIELDS,
    FIGURES,
    Period,
    parse_fields,
    parse_moment,
    parse_period,
    usage_csv,
    usage_rows,
    usage_table,
)
from gateway.stores.base import Intent, Settlement
from gateway.stores.sqlite import SQLiteLedger

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = int(datetime(2026, 11, 22, 10, 30, tzinfo=UTC).timestamp()) * SECOND
BERLIN = ZoneInfo("Europe/Berlin")


def at(*moment: int, zone: tzinfo = UTC) -> int:
    return int(datetime(*moment, tzinfo=zone).timestamp()) * SECOND  # type: ignore[misc,arg-type]


class TestMoments:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("45s", 45),
            ("30m", 1800),
            ("12h", 43_200),
            ("30d", 30 * 86_400),
            ("2w", 14 * 86_400),
            (" 7 d ", 7 * 86_400),
            ("0s", 0),
        ],
    )
    def test_an_age(self, text: str, seconds: int) -> None:
        assert parse_moment(text, NOW, BERLIN) == NOW - seconds * SECOND

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-11-22", at(2026, 11, 22, zone=BERLIN)),
            ("2026-07-01", at(2026, 6, 30, 22)),  # summer time
            ("2026-11-22T08:00", at(2026, 11, 22, 7)),
            (" 2026-11-22 08:00:30 ", at(2026, 11, 22, 7, 0, 30)),
            ("2026-11-22T08:00Z", at(2026, 11, 22, 8)),
            ("2026-11-22T08:00-05:00", at(2026, 11, 22, 13)),
            ("2026-11-22T08:00:00.000001Z", at(2026, 11, 22, 8) + 1000),
        ],
    )
    def test_a_date_is_in_the_operator_s_zone_unless_it_names_one(self, text: str, moment: int) -> None:
        assert parse_moment(text, NOW, BERLIN) == moment

    def test_nothing_is_before_the_epoch(self) -> None:
        for text in ("1900-01-01", "999999w", "0001-01-01"):
            assert parse_moment(text, NOW, UTC) == 0

    @pytest.mark.parametrize(
        "text", ["", "yesterday", "30", "d", "-3d", "1.5h", "30 days", "2026-13-01", "2026-02-30", "1234567d", "２d d"]
    )
    def test_anything_else_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is no moment: write an age such as 30d"):
            parse_moment(text, NOW, UTC)

    def test_the_end_of_time_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no moment the ledger can know"):
            parse_moment("9999-12-31T23:59", NOW, timezone(timedelta(hours=-14)))

    @given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))
    def test_every_microsecond_is_exact(self, moment: datetime) -> None:
        found = parse_moment(moment.isoformat(), NOW, UTC)
        assert datetime(1970, 1, 1) + timedelta(microseconds=found // 1000) == moment
        assert found % 1000 == 0


class TestPeriods:
    def test_until_now_means_now_included(self) -> None:
        assert parse_period("1d", None, NOW, UTC) == Period(NOW - DAY, NOW + 1)
        assert parse_period("0s", "", NOW, UTC) == Period(NOW, NOW + 1)

    def test_from_one_moment_to_another(self) -> None:
        assert parse_period("2026-11-01", "2026-11-02", NOW, UTC) == Period(at(2026, 11, 1), at(2026, 11, 2))

    @pytest.mark.parametrize(("since", "until"), [("1d", "2d"), ("2026-11-01", "2026-11-01"), ("2027-01-01", None)])
    def test_the_wrong_way_round_is_refused(self, since: str, until: str | None) -> None:
        with pytest.raises(ValueError, match=rf"since \({since}\) must be earlier than until \({until or 'now'}\)"):
            parse_period(since, until, NOW, UTC)


class TestFields:
    def test_in_the_order_they_are_named(self) -> None:
        assert parse_fields("day, key,,team ") == ["day", "key", "team"]
        assert parse_fields("") == []
        assert parse_fields(",".join(FIELDS)) == list(FIELDS)

    def test_an_unknown_one_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(ValueError, match="cannot group by 'colour': choose from key, team, model, upstream, day"):
            parse_fields("key,colour")

    def test_one_named_twice_is_refused(self) -> None:
        with pytest.raises(ValueError, match="names a field twice"):
            parse_fields("key,day,key")


def row(cost_usd: float, **fields: Any) -> dict[str, Any]:
    figures = {"requests": 2, "input_tokens": 1000, "cached_input_tokens": 0, "output_tokens": 50, "images": 1}
    return {**fields, **figures, "cost_usd": cost_usd}


ROWS = [row(1.5, key="alice", team="growth"), row(0.00066, key='b"o,b', team=None)]


class TestTables:
    def test_for_eyes_with_totals_that_are_exact(self) -> None:
        first, *lines, last = usage_table(ROWS, ["key", "team"]).split("\n")
        assert first.split() == " ".join(["key", "team", *FIGURES]).replace("_", " ").split()
        assert [line.split()[-1] for line in lines] == ["1.50", "0.00066"]
        assert last.split() == ["total", "-", "4", "2000", "0", "100", "2", "1.50066"]
        assert len({len(line) for line in lines}) == 1

    def test_a_total_of_one_row_would_say_nothing(self) -> None:
        assert len(usage_table(ROWS[:1], ["key"]).split("\n")) == 2
        assert "total" not in usage_table([row(1)], [])
        assert len(usage_table([], ["key"]).split("\n")) == 1

    def test_many_small_sums_do_not_drift(self) -> None:
        rows = [row(0.1, key=str(number)) for number in range(1000)]
        assert usage_table(rows, ["key"]).split("\n")[-1].endswith(" 100.00")


def test_csv_can_be_read_back() -> None:
    text = usage_csv(ROWS, ["key", "team"])
    assert text.startswith("key,team,requests,input_tokens,cached_input_tokens,output_tokens,images,cost_usd\n")
    alice, bob = csv.DictReader(text.splitlines())
    assert (alice["key"], alice["team"], alice["cost_usd"]) == ("alice", "growth", "1.50")
    assert (bob["key"], bob["team"], bob["cost_usd"], bob["input_tokens"]) == ('b"o,b', "", "0.00066", "1000")


@pytest.fixture
async def books(tmp_path: Path) -> Path:
    """Alice asks before and after midnight in Berlin, Bob once; each pays a tenth of a dollar."""
    path = tmp_path / "gateway.db"
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    moments = {"a1": at(2026, 11, 21, 22, 59), "a2": at(2026, 11, 21, 23, 1), "b1": at(2026, 11, 21, 23, 1)}
    for name, moment in moments.items():
        key = "alice" if name.startswith("a") else "bob"
        team = "growth" if key == "alice" else None
        await ledger.reserve(Intent(name, moment, key, team, "/v1/chat/completions", "gpt-4o", f"req-{name}"))
        figures = {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 5, "images": 0}
        money: dict[str, Any] = {"charged": 100_000_000, "upstream_cost": 0, "confidence": "measured"}
        place = {"upstream": "piapi", "endpoint": "https://api.piapi.ai", "credential": "first"}
        ledger.settle(
            Settlement(id=name, at_ns=moment, state="settled", attempts=(), status=200, **figures, **money, **place)  # type: ignore[arg-type]
        )
    await ledger.close()
    return path


def test_rows_of_the_ledger(books: Path) -> None:
    period = parse_period("2026-11-21", "2026-11-23", NOW, BERLIN)
    by_key = usage_rows(books, period, ["key", "team"], BERLIN)
    assert [(one["key"], one["team"], one["requests"], one["cost_usd"]) for one in by_key] == [
        ("alice", "growth", 2, 0.2),
        ("bob", None, 1, 0.1),
    ]
    assert by_key[0].keys() == ROWS[0].keys()
    by_day = usage_rows(books, period, ["day"], BERLIN)
    assert [(one["day"], one["requests"]) for one in by_day] == [("2026-11-21", 1), ("2026-11-22", 2)]
    assert [(one["day"], one["requests"]) for one in usage_rows(books, period, ["day"], UTC)] == [("2026-11-21", 3)]
    assert usage_rows(books, Period(NOW, NOW + 1), ["key"], UTC) == []
    [everything] = usage_rows(books, period, [], UTC)
    assert (everything["requests"], everything["output_tokens"]) == (3, 15)


def test_rows_of_fields_that_do_not_exist(books: Path) -> None:
    with pytest.raises(ValueError, match="cannot group by 'colour'"):
        usage_rows(books, Period(0, NOW), ["colour"], UTC)
