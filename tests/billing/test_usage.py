"""What was spent: moments as people write them, fields, and rows for eyes, for spreadsheets and for scripts."""

from __future__ import annotations

import asyncio
import csv
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.billing.usage import DOUBTS, FIGURES, Period, parse_fields, parse_moment, parse_period
from gateway.billing.usage import usage_rows as usage_rows_of
from gateway.cli.tables import usage_csv, usage_table
from gateway.cli.unpriced_advice import unpriced_advice
from gateway.core.defaults import USAGE_FIELDS
from gateway.runtime.ports import SystemClock
from gateway.stores.records import ExchangeRecord, State
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.store import SQLiteUsage
from tests.stores.makers import settlement

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = int(datetime(2026, 11, 22, 10, 30, tzinfo=UTC).timestamp()) * SECOND
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")


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
            ("20261122", at(2026, 11, 22, zone=BERLIN)),
            ("2026-11-22Z", at(2026, 11, 22)),
            ("2026-11-22-05:00", at(2026, 11, 22, 5)),
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

    @pytest.mark.parametrize(
        ("since", "until", "how"),
        [
            ("2026-11-01", "2026-11-01", "which is not included; for that day: since 2026-11-01 until 2026-11-02"),
            (" 2026-02-28", "2026-02-28 ", "for that day: since 2026-02-28 until 2026-03-01"),
            ("2026-12-31Z", "2026-12-31Z", "for that day: since 2026-12-31Z until 2027-01-01Z"),
            ("2026-11-01T08:00", "2026-11-01T08:00", "which is not included"),
            ("1d", "1d", "which is not included"),
            ("1d", "2d", "the other way round: since 2d until 1d"),
            ("2026-11-02", "2026-11-01", "the other way round: since 2026-11-01 until 2026-11-02"),
            ("2027-01-01", None, "and it lies ahead"),
        ],
    )
    def test_a_refusal_says_how_it_is_done(self, since: str, until: str | None, how: str) -> None:
        with pytest.raises(ValueError, match=f"{how}$"):
            parse_period(since, until, NOW, UTC)
        if "for that day: " in how:
            first, last = how.partition("since ")[2].split(" until ")
            day = parse_period(first, last, NOW, BERLIN)
            assert day.until_ns - day.since_ns == DAY


class TestFields:
    def test_in_the_order_they_are_named(self) -> None:
        assert parse_fields("day, key,,team ") == ["day", "key", "team"]
        assert parse_fields("") == []
        assert parse_fields(",".join(USAGE_FIELDS)) == list(USAGE_FIELDS)

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


def told(requests: int, *prices: tuple[str, str, int], **fields: Any) -> dict[str, Any]:
    """A row with so many unpriced requests. ``prices``: upstream, model, and how many of it are unpriced."""
    doubts = {**dict.fromkeys(DOUBTS, 0), "unpriced_requests": requests, "unpriced_input_tokens": 1500 * requests}
    listed = [{"upstream": at, "model": model, "unpriced_requests": number} for at, model, number in prices]
    return {**row(0), **doubts, **fields, "prices": listed}


class TestUnpriced:
    def test_a_column_only_where_there_is_any(self) -> None:
        rows = [told(0, model="gpt-4o"), told(3, ("piapi", "gpt-9", 3), model="gpt-9")]
        first, free, dark, total = usage_table(rows, ["model"]).split("\n")
        assert first.endswith("cost usd  unpriced")
        assert [line.split()[-1] for line in (free, dark, total)] == ["0", "3", "3"]
        assert "unpriced" not in usage_table(rows[:1], ["model"])
        assert unpriced_advice(rows[:1]) == ""

    def test_the_lines_to_add_are_told(self) -> None:
        rows = [told(3, ("piapi", "gpt-9", 2), ("backup", "gpt-9-mini", 1), model="gpt-9")]
        summary, todo, line = unpriced_advice(rows).split("\n")
        assert summary.startswith("unpriced: 3 requests (4,500 input tokens) served at no known price.")
        assert "then reload" in todo
        assert line.strip() == (
            "gpt-9: {targets: [{upstream: piapi, price: {input: …, output: …}}, "
            "{upstream: backup, model: gpt-9-mini, price: {input: …, output: …}}]}"
        )

    def test_a_model_is_told_once_whoever_served_it(self) -> None:
        rows = [
            told(2, ("backup", "gpt-9", 2), model="gpt-9", upstream="backup"),
            told(9, ("piapi", "gpt-9", 9), model="gpt-9", upstream="piapi"),
            told(1, ("backup", "gpt-9", 1), model="gpt-9", upstream="backup"),
        ]
        lines = unpriced_advice(rows).split("\n")[2:]
        (targets,) = (one["targets"] for one in yaml.safe_load("\n".join(lines).replace("…", "1")).values())
        assert len(lines) == 1
        assert [one["upstream"] for one in targets] == ["piapi", "backup"]

    def test_a_relayed_model_keeps_all_its_upstreams(self) -> None:
        rows = [told(2, ("backup", "gpt-9", 2), ("mine", "own", 1))]
        lines = unpriced_advice(rows, lambda model: ["piapi", "backup"] if model == "gpt-9" else []).split("\n")[2:]
        assert [line.strip() for line in lines] == [
            "gpt-9: {targets: [{upstream: piapi, price: {input: …, output: …}}, "
            "{upstream: backup, price: {input: …, output: …}}]}",
            "own: {targets: [{upstream: mine, price: {input: …, output: …}}]}",
        ]

    def test_pictures_are_priced_apiece(self) -> None:
        rows = [told(1, ("piapi", "painter", 1), unpriced_input_tokens=0, unpriced_images=4)]
        assert "(4 images)" in unpriced_advice(rows)
        assert "painter: {targets: [{upstream: piapi, price: {image: …}}]}" in unpriced_advice(rows)

    def test_many_models_are_told_in_few_lines(self) -> None:
        rows = [told(1, ("piapi", f"m{number}", 1)) for number in range(9)]
        assert unpriced_advice(rows).split("\n")[-1] == "  and 4 more: piapi-gateway usage --by model,upstream"

    @pytest.mark.parametrize("name", ["a: b", "no", "{x}", "1.5", '"', "\\", "#x", "- x", "é", "~"])
    def test_names_that_yaml_would_misread_are_quoted(self, name: str) -> None:
        [line] = unpriced_advice([told(1, ("piapi", name, 1))]).split("\n")[2:]
        read = yaml.safe_load(line.replace("…", "1"))
        assert [*read] == [name]

    def test_a_name_cannot_move_the_cursor(self) -> None:
        assert "\x1b" not in unpriced_advice([told(1, ("piapi", "\x1b[2J", 1))])

    def test_rows_from_before_prices_were_booked_say_where_to_look(self) -> None:
        assert unpriced_advice([told(1)]).split("\n")[-1] == "  Which ones: piapi-gateway usage --by model,upstream"

    def test_a_gateway_of_an_earlier_version_tells_nothing_of_it(self) -> None:
        assert unpriced_advice(ROWS) == ""
        assert "unpriced" not in usage_table(ROWS, ["key"])


def test_csv_can_be_read_back() -> None:
    text = usage_csv(ROWS, ["key", "team"])
    assert text.startswith(
        "key,team,requests,input_tokens,cached_input_tokens,output_tokens,images,cost_usd,"
        "unpriced_requests,unpriced_input_tokens,unpriced_output_tokens,unpriced_images,"
        "estimated_requests,estimated_cost_usd,unknown_requests\n"
    )
    alice, bob = csv.DictReader(text.splitlines())
    assert (alice["key"], alice["team"], alice["cost_usd"]) == ("alice", "growth", "1.50")
    assert (bob["key"], bob["team"], bob["cost_usd"], bob["input_tokens"]) == ('b"o,b', "", "0.00066", "1000")


def usage_rows(path: Path, period: Period, by: list[str], zone: tzinfo) -> list[dict[str, Any]]:
    """Of a store's file."""
    return asyncio.run(usage_rows_of(SQLiteUsage(path), period, by, zone))


@pytest.fixture
async def books(tmp_path: Path) -> Path:
    """Alice asks before and after midnight in Berlin, Bob once; each pays a tenth of a dollar."""
    path = tmp_path / "gateway.db"
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    moments = {"a1": at(2026, 11, 21, 22, 59), "a2": at(2026, 11, 21, 23, 1), "b1": at(2026, 11, 21, 23, 1)}
    for name, moment in moments.items():
        key = "alice" if name.startswith("a") else "bob"
        team = "growth" if key == "alice" else None
        await ledger.reserve(ExchangeRecord(name, moment, key, team, "/v1/chat/completions", "gpt-4o", f"req-{name}"))
        figures = {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 5, "images": 0}
        money: dict[str, Any] = {"charged": 100_000_000, "upstream_cost": 0, "confidence": "measured"}
        place = {"upstream": "piapi", "endpoint": "https://api.piapi.ai", "credential": "first"}
        ledger.settle(settlement(name, at_ns=moment, attempts=(), **figures, **money, **place))
    await ledger.close()
    return path


def test_rows_of_the_ledger(books: Path) -> None:
    period = parse_period("2026-11-21", "2026-11-23", NOW, BERLIN)
    by_key = usage_rows(books, period, ["key", "team"], BERLIN)
    assert [(one["key"], one["team"], one["requests"], one["cost_usd"]) for one in by_key] == [
        ("alice", "growth", 2, 0.2),
        ("bob", None, 1, 0.1),
    ]
    assert [*by_key[0]] == [*ROWS[0], *DOUBTS, "prices", "more_prices"]
    by_day = usage_rows(books, period, ["day"], BERLIN)
    assert [(one["day"], one["requests"]) for one in by_day] == [("2026-11-21", 1), ("2026-11-22", 2)]
    assert [(one["day"], one["requests"]) for one in usage_rows(books, period, ["day"], UTC)] == [("2026-11-21", 3)]
    assert usage_rows(books, Period(NOW, NOW + 1), ["key"], UTC) == []
    [everything] = usage_rows(books, period, [], UTC)
    assert (everything["requests"], everything["output_tokens"]) == (3, 15)


def test_rows_of_fields_that_do_not_exist(books: Path) -> None:
    with pytest.raises(ValueError, match="cannot group by 'colour'"):
        usage_rows(books, Period(0, NOW), ["colour"], UTC)


class Asked(NamedTuple):
    """One request as the books have it. ``charged``: nano-dollars."""

    id: str
    at_ns: int
    key: str
    team: str | None
    model: str
    upstream: str | None
    state: State
    charged: int


def _requests() -> Iterator[Asked]:
    """Around the night in which Berlin's clocks were put back, four an hour, and one on either side of each edge."""
    start, chance = at(2026, 10, 23, 21), random.Random(4)
    moments = [start + number * 900 * SECOND for number in range(4 * 80)]
    for edge in (at(2026, 10, 25, zone=BERLIN), at(2026, 10, 26, zone=BERLIN), at(2026, 10, 25, zone=KOLKATA)):
        moments += [edge - 1, edge]
    for number, moment in enumerate(moments):
        key = chance.choice(["alice", "bob", "carol"])
        state: State = chance.choice(["settled", "settled", "settled", "unknown", "released"])
        yield Asked(
            id=f"x{number}",
            at_ns=moment,
            key=key,
            team={"alice": "growth", "bob": "growth"}.get(key),
            model=chance.choice(["gpt-4o", "flux-dev"]),
            upstream=chance.choice(["piapi", "backup", None]),
            state=state,
            charged=0 if state == "released" else chance.randrange(10**9),
        )


REQUESTS = list(_requests())


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "gateway.db"
    asyncio.run(_write(path))
    return path


async def _write(path: Path) -> None:
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    for one in REQUESTS:
        await ledger.reserve(ExchangeRecord(one.id, one.at_ns, one.key, one.team, "chat", one.model, one.id))
        free = one.state == "released"
        ledger.settle(
            settlement(
                one.id, at_ns=one.at_ns, state=one.state, upstream=one.upstream, endpoint=None, credential=None,
                attempts=(), input_tokens=0 if free else 3, cached_input_tokens=0 if free else 1,
                output_tokens=0 if free else 2, images=0 if free else 1, charged=one.charged, upstream_cost=0,
                confidence="measured", status=200,
            )
        )  # fmt: skip
    await ledger.reserve(ExchangeRecord("open", at(2026, 10, 25), "alice", None, "chat", "gpt-4o", "open"))
    await ledger.close()


def expected(period: Period, by: Sequence[str], zone: tzinfo) -> list[dict[str, Any]]:
    """The same from the requests one by one, by the calendar of the standard library."""
    groups: dict[tuple[str | None, ...], list[Asked]] = {}
    for one in REQUESTS:
        if period.since_ns <= one.at_ns < period.until_ns and one.state != "released":
            day = datetime.fromtimestamp(one.at_ns // SECOND, zone).date().isoformat()
            groups.setdefault(tuple({**one._asdict(), "day": day}[field] for field in by), []).append(one)
    in_order = sorted(groups.items(), key=lambda group: [(value is not None, value or "") for value in group[0]])
    return [
        {
            **dict(zip(by, values, strict=True)),
            "requests": len(ones),
            "input_tokens": 3 * len(ones),
            "cached_input_tokens": len(ones),
            "output_tokens": 2 * len(ones),
            "images": len(ones),
            "cost_usd": sum(one.charged for one in ones) / 10**9,
            **dict.fromkeys(DOUBTS, 0),
            "unknown_requests": sum(one.state == "unknown" for one in ones),
            "prices": [],
            "more_prices": 0,
        }
        for values, ones in in_order
    ]


@pytest.mark.parametrize("zone", [UTC, BERLIN, KOLKATA], ids=str)
def test_every_combination_of_fields_adds_up(many: Path, zone: tzinfo) -> None:
    period = parse_period("2026-10-24", "2026-10-27", NOW, zone)
    for number in range(len(USAGE_FIELDS) + 1):
        for by in combinations(USAGE_FIELDS, number):
            rows = usage_rows(many, period, by, zone)
            assert rows == expected(period, by, zone), by
            assert [list(row) for row in rows] == [[*by, *FIGURES, *DOUBTS, "prices", "more_prices"]] * len(rows)
            assert csv_columns(usage_csv(rows, by)) == [*by, *FIGURES, *DOUBTS]


def csv_columns(text: str) -> list[str]:
    return next(csv.reader(text.splitlines()))


def test_columns_stand_in_the_order_of_the_fields(many: Path) -> None:
    period = parse_period("2026-10-24", "2026-10-25", NOW, BERLIN)
    by = ["day", "upstream", "key"]
    rows = usage_rows(many, period, by, BERLIN)
    assert rows == expected(period, by, BERLIN)
    assert list(rows[0]) == [*by, *FIGURES, *DOUBTS, "prices", "more_prices"]
    assert csv_columns(usage_csv(rows, by)) == [*by, *FIGURES, *DOUBTS]


EDGES = (
    at(2026, 10, 25, zone=BERLIN),
    at(2026, 10, 26, zone=BERLIN),
    at(2026, 10, 25, zone=KOLKATA),
    at(2026, 10, 25, 0, 15),
    at(2026, 10, 25, 1),
)


@pytest.mark.parametrize("zone", [BERLIN, KOLKATA], ids=str)
def test_a_period_begins_with_its_first_nanosecond_and_ends_before_its_last(many: Path, zone: tzinfo) -> None:
    for edge in EDGES:
        for nudge in (-1, 0, 1):
            for period in (Period(0, edge + nudge), Period(edge + nudge, NOW)):
                assert usage_rows(many, period, ["day"], zone) == expected(period, ["day"], zone)
                assert usage_rows(many, period, [], zone) == expected(period, [], zone)


def test_the_day_on_which_the_clocks_are_put_back_has_twenty_five_hours(many: Path) -> None:
    day = parse_period("2026-10-25", "2026-10-26", NOW, BERLIN)
    assert day.until_ns - day.since_ns == 25 * 3600 * SECOND
    [row] = usage_rows(many, day, ["day"], BERLIN)
    assert row["day"] == "2026-10-25"
    assert [row] == expected(day, ["day"], BERLIN)
