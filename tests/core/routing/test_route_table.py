"""Which route a model takes, and which models a key may use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.images.task_facts import TaskFacts
from gateway.core.routing.route_table import MOST_FILLED, RouteTable, allowed
from gateway.core.types import Route
from tests.core.builders import backup, target, upstream


def route(model: str, *asked: str) -> Route:
    return Route(model, tuple(target(upstream(), one) for one in asked or (model,)))


TABLE = RouteTable(
    [
        route("gpt-4o"),
        route("gpt-4o-image"),
        route("gpt-4-*", "gpt-4-*"),
        route("gpt-4-gizmo-*"),
        route("mine/*", "theirs-*", "fixed"),
        route("flux-dev", "Qubico/flux1-dev"),
    ]
)


def asked_for(model: str) -> list[str]:
    found = TABLE.find(model)
    return [] if found is None else [one.model for one in found.targets]


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-4o", ["gpt-4o"]),
        ("flux-dev", ["Qubico/flux1-dev"]),
        ("gpt-4-turbo", ["gpt-4-turbo"]),
        ("gpt-4-gizmo-g-abc", ["gpt-4-gizmo-g-abc"]),
        ("mine/one", ["theirs-one", "fixed"]),
        ("gpt-4-gizmo-", ["gpt-4-gizmo-"]),
        ("gpt-4-", []),
        ("gpt-4", []),
        ("GPT-4o", ["gpt-4o"]),
        ("gpt-5", []),
        ("", []),
    ],
)
def test_exact_names_come_first_then_the_longest_prefix(model: str, asked: list[str]) -> None:
    assert asked_for(model) == asked


def test_an_alias_is_the_model_unless_another_has_that_name() -> None:
    aliased = Route("gpt-4o-image", (target(upstream(), "gpt-4o-image"),), aliases=("gpt-4o-image-preview", "gpt-4o"))
    table = RouteTable([route("gpt-4o"), aliased, route("gpt-4o-image-*", "gpt-4o-image-*")])
    assert table.find("gpt-4o-image-preview") is aliased
    assert aliased.named == "gpt-4o-image"
    other = table.find("gpt-4o")
    assert other is not None
    assert other.model == "gpt-4o"
    assert "gpt-4o-image-preview" not in table.visible(["*"])


def test_all_names_of_a_model_are_told_for_any_of_them() -> None:
    table = RouteTable([Route("gpt-4o", (target(upstream(), "gpt-4o"),), aliases=("chatgpt",)), route("mine/*")])
    assert table.names_of("chatgpt") == table.names_of("gpt-4o") == ("gpt-4o", "chatgpt")
    assert table.names_of("mine/one") == ("mine/one",)
    assert table.names_of("never-heard-of") == ("never-heard-of",)


def test_a_pattern_stays_the_routes_name() -> None:
    found = TABLE.find("gpt-4-gizmo-g-abc")
    assert found is not None
    assert found.model == "gpt-4-gizmo-*"


def test_a_route_comes_back_with_all_its_targets_in_order() -> None:
    table = RouteTable([Route("m", (target(upstream(), "x"), target(backup(), "y")))])
    found = table.find("m")
    assert found is not None
    assert [one.upstream.name for one in found.targets] == ["piapi", "backup"]


def test_every_route_is_listed() -> None:
    assert {one.model for one in TABLE} == {
        "gpt-4o",
        "gpt-4o-image",
        "gpt-4-*",
        "gpt-4-gizmo-*",
        "mine/*",
        "flux-dev",
    }


@pytest.mark.parametrize(
    ("patterns", "visible"),
    [
        (["*"], ["flux-dev", "gpt-4o", "gpt-4o-image"]),
        (["gpt-4o*"], ["gpt-4o", "gpt-4o-image"]),
        (["gpt-4o"], ["gpt-4o"]),
        (["gpt-4-gizmo-g-abc", "unknown"], ["gpt-4-gizmo-g-abc"]),
        (["flux-*", "gpt-4o"], ["flux-dev", "gpt-4o"]),
        ([], []),
    ],
)
def test_what_a_key_sees(patterns: list[str], visible: list[str]) -> None:
    assert TABLE.visible(patterns) == visible


@pytest.mark.parametrize(
    ("patterns", "model", "may"),
    [
        (["*"], "anything", True),
        (["gpt-4o*"], "gpt-4o", True),
        (["gpt-4o*"], "gpt-4", False),
        (["a*b"], "axb", False),
        (["a*b"], "a*b", True),
        ([], "gpt-4o", False),
    ],
)
def test_what_a_key_may_use(patterns: list[str], model: str, may: bool) -> None:
    assert allowed(patterns, model) is may


@given(st.lists(st.text("gp4o-*", min_size=1, max_size=6), max_size=4))
def test_what_is_visible_can_be_found_and_used(patterns: list[str]) -> None:
    for model in TABLE.visible(patterns):
        assert not model.endswith("*")
        assert TABLE.find(model) is not None
        assert allowed(patterns, model)


KNOWING = RouteTable(
    [
        Route("gpt-4o", (target(upstream(), "gpt-4o"),)),
        Route("smart", (target(backup(), "o3"), target(upstream(), "theirs-two"))),
        Route("painter", (target(upstream(), "Qubico/flux1-dev", operation="task"),)),
        Route("idle", ()),
        Route("mine/*", (target(upstream(), "theirs-*"),)),
        Route("oai/*", (target(backup(), "*"),)),
        Route("all/*", (target(upstream(), "*"),)),
        Route("gpt-*", (target(upstream(), "gpt-*"),)),
        Route("fixed/*", (target(upstream(), "gpt-4o"),)),
    ]
)
"""Routes with a ``*`` beside others that tell which models their upstreams have."""


@pytest.mark.parametrize(
    ("patterns", "visible"),
    [
        (["*"], ["all/gpt-4o", "all/theirs-two", "gpt-4o", "mine/two", "oai/o3", "painter", "smart"]),
        (["oai/*", "idle"], ["oai/o3"]),
        (["mine/two", "mine/new"], ["mine/new", "mine/two"]),
        (["gpt-*"], ["gpt-4o"]),
        (["fixed/*"], []),
    ],
)
def test_of_a_pattern_the_members_are_seen_that_its_upstreams_are_known_to_have(
    patterns: list[str], visible: list[str]
) -> None:
    assert KNOWING.visible(patterns) == visible
    for model in visible:
        assert KNOWING.offers(model)


def test_a_model_that_nobody_serves_is_not_shown() -> None:
    """Its upstream has no key: the route is known, for a telling error, but nobody is invited to use it."""
    table = RouteTable([route("served"), Route("idle", ()), Route("idle-*", ())])
    assert table.visible(["*", "idle", "idle-one"]) == ["served"]
    assert table.find("idle") is not None
    assert not table.offers("idle")
    assert not table.offers("unheard-of")
    assert table.offers("served")


def test_filled_routes_are_remembered_but_not_without_end() -> None:
    table = RouteTable([route("gpt-4-*", "gpt-4-*")])
    first = table.find("gpt-4-0")
    assert first is not None
    assert table.find("gpt-4-0") is first
    for number in range(MOST_FILLED):
        assert table.find(f"gpt-4-{number + 1}") is not None
    again = table.find("gpt-4-0")
    assert again == first
    assert again is not first


class TestAnEnd:
    """A target whose last day is over is left out, without a restart."""

    DAY = 86_400 * 10**9

    def table(self, now: list[int]) -> RouteTable:
        old = replace(target(upstream(), "old"), shutdown="1970-01-01", ends_ns=self.DAY)
        older = replace(target(backup(), "older"), shutdown="1970-01-02", ends_ns=2 * self.DAY)
        new = target(backup(), "new")
        return RouteTable(
            [Route("m", (old, older, new)), Route("gone", (old,)), Route("p-*", (old, new))], lambda: now[0]
        )

    @pytest.mark.parametrize(
        ("now", "left"),
        [
            (DAY - 1, ["old", "older", "new"]),
            (DAY, ["older", "new"]),
            (2 * DAY - 1, ["older", "new"]),
            (2 * DAY, ["new"]),
        ],
    )
    def test_comes_at_the_end_of_the_day_at_the_start_and_while_it_runs(self, now: int, left: list[str]) -> None:
        clock = [0]
        running, started = self.table(clock), self.table([now])
        found = running.find("m")
        assert found is not None
        assert [one.model for one in found.targets] == ["old", "older", "new"]
        clock[0] = now
        for table in (running, started):
            route = table.find("m")
            assert route is not None
            assert [one.model for one in route.targets] == left

    def test_leaves_patterns_and_empty_routes_as_they_should_be(self) -> None:
        clock = [0]
        table = self.table(clock)
        assert table.find("p-x") is not None
        clock[0] = self.DAY
        for name, left in (("gone", []), ("p-x", ["new"])):
            route = table.find(name)
            assert route is not None
            assert [one.model for one in route.targets] == left
            assert [one.model for one in route.ended] == ["old"]
        assert "gone" not in table.visible(["*"])

    def test_is_seen_by_a_list_that_nobody_looked_up_a_model_before(self) -> None:
        clock = [0]
        table = self.table(clock)
        assert "gone" in table.visible(["*"])
        clock[0] = self.DAY
        assert "gone" not in table.visible(["*"])

    def test_never_comes_where_no_clock_is_given(self) -> None:
        ended = replace(target(upstream(), "old"), ends_ns=0)
        route = RouteTable([Route("m", (ended,))]).find("m")
        assert route is not None
        assert route.targets == (ended,)


class TestTasks:
    def test_are_found_as_piapi_names_them(self) -> None:
        one = replace(target(upstream(), "gemini", operation="task"), tasks={"small": TaskFacts()})
        two = replace(target(upstream(), "gemini", operation="task"), tasks={"large": TaskFacts()})
        table = RouteTable([Route("little", (one,)), Route("big", (target(backup(), "gemini"), two))])
        for task_type, model, targets in (("small", "little", (one,)), ("large", "big", (two,))):
            route = table.of_task("gemini", task_type)
            assert route is not None
            assert (route.model, route.targets) == (model, targets)
        assert table.of_task("gemini", "other") is None
        assert table.of_task("other", "small") is None


@given(
    st.sampled_from(["gpt-4o", "gpt-4-x", "openai/gpt-4o", "GPT-4o", "flux-dev", "unknown", "gpt-4-*", "mine/a"]),
    st.lists(st.sampled_from(["*", "gpt-4o", "gpt-*", "openai/*", "flux-dev", "mine/*"]), max_size=2).map(tuple),
)
def test_what_is_open_to_a_key_is_what_it_may_use(model: str, patterns: tuple[str, ...]) -> None:
    found = TABLE.find(model)
    usable = found is not None and TABLE.may_use(patterns, model, found)
    for _ in range(2):
        assert TABLE.open_to(patterns, model) == (found if usable else None)


def test_what_is_open_to_a_key_ends_with_its_last_target() -> None:
    now = 0
    ending = replace(target(upstream(), "old"), ends_ns=10)
    table = RouteTable([Route("old", (ending,))], lambda: now)
    assert table.open_to(("*",), "old") is not None
    now = 10
    assert table.open_to(("*",), "old") is None


def test_only_so_many_names_are_remembered_for_their_keys() -> None:
    table = RouteTable([route("gpt-4-*", "gpt-4-*")])
    for number in range(2 * MOST_FILLED):
        assert table.open_to(("*",), f"gpt-4-{number}") is not None
    assert len(table._open) <= MOST_FILLED
