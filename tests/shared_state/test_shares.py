"""A gateway's part of a limit, while it is alone: all parts together never come near to twice the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.shared_state.shares import rank_of, share_of

limits, numbers = st.integers(0, 10_000), st.integers(1, 40)


@given(limits, numbers)
def test_all_parts_together_are_the_limit_at_least(limit: int, gateways: int) -> None:
    assert sum(share_of(limit, gateways, rank) for rank in range(gateways)) >= limit


@given(limits, numbers)
def test_no_more_than_twice_the_limit_even_if_one_had_just_used_up_all_of_it(limit: int, gateways: int) -> None:
    shares = sorted(share_of(limit, gateways, rank) for rank in range(gateways))
    assert limit + sum(shares[1:]) <= 2 * limit or sum(shares) == limit
    assert sum(shares) <= 2 * limit


@given(limits)
def test_one_gateway_has_all_of_it(limit: int) -> None:
    assert share_of(limit, 1, 0) == limit


def test_each_has_the_same_where_that_is_not_too_much() -> None:
    assert [share_of(600, 3, rank) for rank in range(3)] == [200, 200, 200]
    assert [share_of(4, 3, rank) for rank in range(3)] == [2, 2, 2]
    assert [share_of(1, 3, rank) for rank in range(3)] == [1, 0, 0]
    assert [share_of(1, 2, rank) for rank in range(2)] == [1, 1]


@given(st.sets(st.text("0123456789abcdef", min_size=4), min_size=1, max_size=12).map(sorted), st.text(min_size=1))
def test_every_gateway_has_a_rank_of_its_own(ids: list[str], key: str) -> None:
    assert sorted(rank_of(key, own, ids) for own in ids) == list(range(len(ids)))
