"""Kept answers: their names, their room, their age, and what a reload leaves of them."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.answer_cache import AnswerCache, KeptAnswer, as_given_again, may_be_kept, request_digest
from gateway.core.route_rules import CacheRules, RouteRules
from gateway.core.types import Route, VirtualKey
from tests.core.builders import backup, target, upstream

RULES = CacheRules(ttl=60.0, max=10_000)
TEAM = CacheRules(ttl=60.0, max=10_000, share="team")
ALICE, BOB, CAROL = VirtualKey("alice", team="growth"), VirtualKey("bob", team="growth"), VirtualKey("carol")


def answer(size: int = 100) -> KeptAnswer:
    return KeptAnswer(b"x" * size, 7)


def route(model: str, *, rules: RouteRules = RouteRules(cache=RULES), dear: bool = False) -> Route:  # noqa: B008
    return Route(model, (target(backup() if dear else upstream()),), rules=rules)


def test_an_answer_is_found_until_it_is_too_old() -> None:
    cache = AnswerCache()
    cache.keep("m", RULES, b"a", answer(), 1000.0)
    assert cache.find("m", RULES, b"a", 1060.0) == answer()
    assert cache.find("m", RULES, b"b", 1060.0) is None
    assert cache.find("n", RULES, b"a", 1060.0) is None
    assert cache.find("m", RULES, b"a", 1060.1) is None
    assert cache.size == 0


def test_what_was_not_asked_for_longest_makes_room() -> None:
    cache = AnswerCache()
    for name in (b"a", b"b", b"c"):
        cache.keep("m", RULES, name, answer(3000), 0.0)
    assert cache.find("m", RULES, b"a", 1.0) is not None
    cache.keep("m", RULES, b"d", answer(3000), 2.0)
    assert [cache.find("m", RULES, name, 3.0) is not None for name in (b"a", b"b", b"c", b"d")] == [
        True,
        False,
        True,
        True,
    ]


def test_an_answer_that_is_too_large_is_not_kept_and_costs_no_other_its_place() -> None:
    cache = AnswerCache()
    cache.keep("m", RULES, b"a", answer(), 0.0)
    cache.keep("m", RULES, b"b", answer(10_000), 0.0)
    assert cache.find("m", RULES, b"b", 1.0) is None
    assert cache.find("m", RULES, b"a", 1.0) is not None


def test_a_reload_forgets_models_that_changed() -> None:
    cache = AnswerCache()
    cache.configure([route("m"), route("n"), route("gone")])
    for model in ("m", "n", "gone"):
        cache.keep(model, RULES, b"a", answer(), 0.0)
    epoch = cache.epoch
    cache.configure([route("m"), route("n", dear=True)])
    assert cache.epoch != epoch
    assert [cache.find(model, RULES, b"a", 1.0) is not None for model in ("m", "n", "gone")] == [True, False, False]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12_000), st.floats(0, 100)), max_size=60))
def test_there_is_never_more_than_room_for(told: list[tuple[str, int, float]]) -> None:
    cache, kept = AnswerCache(), {}
    for name, size, now in told:
        cache.keep("m", RULES, name.encode(), answer(size), now)
        kept[name] = (size, now)
        assert 0 <= cache.size <= RULES.max
        found = cache.find("m", RULES, name.encode(), now)
        assert (found is not None) == (size + 256 <= RULES.max)
    for name in "abcdefgh":
        found = cache.find("m", RULES, name.encode(), 1000.0)
        assert found is None
    assert cache.size == 0


def test_a_name_is_of_the_key_or_the_team_of_the_route_and_of_every_field() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "seed": 1}
    name = request_digest(RULES, ALICE, "/v1/chat/completions", "gpt-4o", body)
    assert request_digest(RULES, ALICE, "/v1/chat/completions", "gpt-4o", dict(reversed(body.items()))) == name
    assert request_digest(RULES, ALICE, "/v1/chat/completions", "gpt-4o", {**body, "model": "openai/gpt-4o"}) == name
    others = [
        request_digest(RULES, BOB, "/v1/chat/completions", "gpt-4o", body),
        request_digest(TEAM, ALICE, "/v1/chat/completions", "gpt-4o", body),
        request_digest(RULES, VirtualKey("growth"), "/v1/chat/completions", "gpt-4o", body),
        request_digest(RULES, ALICE, "/v1/completions", "gpt-4o", body),
        request_digest(RULES, ALICE, "/v1/chat/completions", "gpt-4o-mini", body),
        request_digest(RULES, ALICE, "/v1/chat/completions", "gpt-4o", {**body, "seed": 2}),
        request_digest(RULES, ALICE, "/v1/chat/completions", "gpt-4o", {**body, "user": None}),
    ]
    assert len({name, *others}) == 1 + len(others)
    assert request_digest(TEAM, ALICE, "/x", "m", body) == request_digest(TEAM, BOB, "/x", "m", body)
    assert request_digest(TEAM, CAROL, "/x", "m", body) == request_digest(RULES, CAROL, "/x", "m", body)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({}, True),
        ({"stream": False, "tools": [], "n": 1}, True),
        ({"stream": None, "temperature": 1}, True),
        ({"stream": True}, False),
        ({"tools": [{}]}, False),
        ({"functions": [{}]}, False),
        ({"web_search_options": {}}, False),
        ({"web_search_options": None}, True),
        ({"audio": {"voice": "alloy"}}, False),
        ({"n": 2}, False),
        ({"n": 2, "temperature": 0}, True),
        ({"n": 2, "temperature": 0.0}, True),
        ({"best_of": 3, "temperature": 0.7}, False),
    ],
)
def test_what_may_be_given_again(body: dict[str, object], kept: bool) -> None:
    assert may_be_kept(body) is kept


def test_an_answer_given_again_costs_nothing_and_is_else_the_same() -> None:
    plain = b'{ "id":"a", "usage": {"total_tokens": 3}}'
    assert as_given_again(plain) == plain
    said = b'{"choices":[{"text":"\\"cost\\""}],"usage":{"total_tokens":3}}'
    assert as_given_again(said) == said
    told = orjson.loads(as_given_again(b'{"id":"a","usage":{"total_tokens":3,"cost":0.00012}}'))
    assert told == {"id": "a", "usage": {"total_tokens": 3, "cost": 0}}
    with pytest.raises(ValueError, match=r".+"):
        as_given_again(b'{"cost": ')
