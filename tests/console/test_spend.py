"""What was spent, added up: every nano-dollar is in it once, however many rows there are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.console import spend
from gateway.stores.records import UsageRow

names = st.sampled_from([None, *(f"name-{number}" for number in range(20))])
amounts = st.integers(0, 10**15)


def row(key: str | None = "alice", model: str | None = "gpt-4o", upstream: str | None = "piapi", **of: int) -> UsageRow:
    nothing = dict.fromkeys(
        ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "cost_nano"), 0
    )
    figures: dict[str, Any] = {**nothing, **of}
    return UsageRow({"key": key, "model": model, "upstream": upstream}, **figures)


rows_of_books = st.lists(
    st.builds(
        row,
        key=names,
        model=names,
        upstream=names,
        requests=st.integers(1, 10**6),
        input_tokens=amounts,
        output_tokens=amounts,
        images=st.integers(0, 1000),
        cost_nano=amounts,
        unpriced_requests=st.integers(0, 9),
        unknown_requests=st.integers(0, 9),
    ),
    max_size=60,
    unique_by=lambda one: one.group["key"],  # as the books are asked: a row for each name
)


@given(rows=rows_of_books, most=st.integers(1, 12))
def test_a_table_adds_up_to_the_total_to_the_last_nano_dollar(rows: list[UsageRow], most: int) -> None:
    table, total = spend.by("key", rows, most), spend.total(rows)
    for what in ("nano", "requests", "images", "tokens", "doubtful"):
        assert sum(getattr(one, what) for one in table) == getattr(total, what)
    assert total.nano == sum(one.cost_nano for one in rows)
    assert total.tokens == sum(one.input_tokens + one.output_tokens for one in rows)
    assert total.doubtful == sum(one.unpriced_requests + one.unknown_requests for one in rows)
    assert len(table) <= most + 1


@given(rows=rows_of_books)
def test_the_dearest_comes_first_and_each_name_once(rows: list[UsageRow]) -> None:
    table = spend.by("key", rows, most=100)
    assert [one.nano for one in table] == sorted((one.nano for one in table), reverse=True)
    assert len({one.name for one in table}) == len(table) == len(rows)


def test_many_small_ones_are_one_row_of_others() -> None:
    rows = [row(key=f"key-{number:02}", cost_nano=100 - number, requests=1) for number in range(14)]
    table = spend.by("key", rows, most=10)
    assert [one.name for one in table] == [*(f"key-{number:02}" for number in range(10)), "4 others"]
    assert (table[-1].nano, table[-1].requests) == (90 + 89 + 88 + 87, 4)


def test_one_beyond_the_table_is_shown_by_its_name_instead() -> None:
    rows = [row(key=f"key-{number:02}", cost_nano=100 - number) for number in range(11)]
    assert [one.name for one in spend.by("key", rows, most=10)][-1] == "key-10"


def test_what_cost_the_same_stands_in_a_steady_order() -> None:
    rows = [row(key=name, requests=number) for name, number in (("b", 1), ("a", 1), ("c", 2), (None, 1))]
    assert [one.name for one in spend.by("key", rows)] == ["c", None, "a", "b"]
    assert spend.by("key", rows[::-1]) == spend.by("key", rows)


def test_a_file_for_spreadsheets_has_exact_money_and_no_formulas() -> None:
    rows = [
        row(
            key="alice",
            model='=HYPERLINK("http://evil.example")',
            requests=2,
            input_tokens=3,
            cost_nano=660_000,
            unpriced_requests=1,
        ),
        row(
            key=None,
            model='a "quoted", name',
            images=1,
            cost_nano=1_234_567_890_123_456_789,
            estimated_requests=2,
            unknown_requests=3,
        ),  # fmt: skip,
    ]
    assert spend.as_csv(["key", "model"], rows).decode().splitlines() == [
        "key,model,requests,input_tokens,cached_input_tokens,output_tokens,images,cost_usd,"
        "estimated_requests,unpriced_requests,unknown_requests",
        'alice,"\'=HYPERLINK(""http://evil.example"")",2,3,0,0,0,0.00066,0,1,0',
        ',"a ""quoted"", name",0,0,0,0,1,1234567890.123456789,2,0,3',
    ]


def test_the_dearest_rows_stand_first() -> None:
    cheap, dear = row(cost_nano=1), row(cost_nano=2)
    assert spend.dearest([cheap, dear]) == [dear, cheap]


def test_empty_books_come_to_nothing() -> None:
    assert spend.by("model", []) == []
    assert (spend.total([]).nano, spend.total([]).name) == (0, None)
