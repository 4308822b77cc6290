"""What upstreams list: the last good list stays, and its last days hold for the targets at that upstream."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.listed_model import ListedModel
from gateway.core.routing.listed_models import NOTHING_LISTED
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Route
from tests.core.builders import backup, target, upstream

DAY = 86_400 * 10**9
SECOND = 10**9


def listed(id: str, last_day: str = "", ends_ns: int | None = None) -> ListedModel:
    return ListedModel(id, "vendor", 1_700_000_000, last_day, ends_ns)


def test_the_last_good_list_is_kept_when_a_later_one_cannot_be_had() -> None:
    good = NOTHING_LISTED.answered("backup", [listed("one"), listed("two")], 5 * SECOND)
    worse = good.failed("backup", "answered 503", 9 * SECOND)
    assert list(worse.models("backup")) == ["one", "two"]
    assert worse.of("backup").describe() == {
        "models": 2,
        "listed_at": "1970-01-01T00:00:05Z",
        "asked_at": "1970-01-01T00:00:09Z",
        "reason": "answered 503",
    }
    better = worse.answered("backup", [listed("two")], 12 * SECOND)
    assert list(better.models("backup")) == ["two"]
    assert better.of("backup").reason == ""
    assert list(good.models("backup")) == ["one", "two"], "what was handed out stays as it is"


def test_an_upstream_that_never_listed_anything() -> None:
    nothing = {"models": None, "listed_at": None, "asked_at": None, "reason": None}
    assert NOTHING_LISTED.of("piapi").describe() == nothing
    asked = NOTHING_LISTED.failed("piapi", "answered 404", 0)
    assert asked.of("piapi").describe() == {**nothing, "asked_at": "1970-01-01T00:00:00Z", "reason": "answered 404"}
    assert NOTHING_LISTED.beside([{"name": "piapi", "keys": []}]) == [
        {"name": "piapi", "keys": [], "model_list": nothing}
    ]


def test_only_the_lists_of_upstreams_that_still_are() -> None:
    both = NOTHING_LISTED.answered("piapi", [listed("a")], 0).answered("backup", [listed("b")], 0)
    assert (list(both.only(["backup"]).models("piapi")), list(both.only(["backup"]).models("backup"))) == ([], ["b"])


def test_its_last_day_takes_the_place_of_the_catalogues_at_that_upstream_for_that_model() -> None:
    lists = NOTHING_LISTED.answered(
        "backup", [listed("gpt-4o", "1970-01-02", 2 * DAY), listed("o1"), listed("new", "1970-01-03", 3 * DAY)], 0
    )
    there = replace(target(backup(), "gpt-4o"), shutdown="1970-01-09", ends_ns=9 * DAY, successor="next")
    dated = lists.dated(there)
    assert (dated.shutdown, dated.ends_ns, dated.successor) == ("1970-01-02", 2 * DAY, "next")
    assert lists.dated(target(backup(), "new")).ends_ns == 3 * DAY

    undated = replace(target(backup(), "o1"), shutdown="1970-01-09", ends_ns=9 * DAY)
    for untouched in (
        undated,
        target(upstream(), "gpt-4o"),
        target(backup(), "gpt-4o-mini"),
        replace(target(backup(), "absent"), ends_ns=DAY),
    ):
        assert lists.dated(untouched) is untouched


class TestRoutes:
    """What the table of routes makes of such days."""

    LISTS = NOTHING_LISTED.answered(
        "backup",
        [
            listed("sooner", "1970-01-01", DAY),
            listed("later", "1970-01-09", 9 * DAY),
            listed("gizmo-1", "1970-01-01", DAY),
        ],
        0,
    )

    def left(self, table: RouteTable, model: str) -> list[str]:
        route = table.find(model)
        assert route is not None
        return [one.upstream.name for one in route.targets]

    def table(self, now: list[int]) -> RouteTable:
        ending = {"shutdown": "1970-01-03", "ends_ns": 3 * DAY}
        return RouteTable(
            [
                Route("sooner", (target(upstream(), "sooner"), replace(target(backup(), "sooner"), **ending))),
                Route("later", (replace(target(backup(), "later"), **ending),)),
                Route("g-*", (target(upstream(), "gizmo-*"), target(backup(), "gizmo-*"))),
            ],
            lambda: now[0],
            dated=self.LISTS.dated,
        )

    def test_a_target_is_skipped_from_the_end_of_its_last_day_on(self) -> None:
        now = [0]
        table = self.table(now)
        assert self.left(table, "sooner") == ["piapi", "backup"]
        now[0] = DAY - 1
        assert self.left(table, "sooner") == ["piapi", "backup"]
        now[0] = DAY
        assert self.left(table, "sooner") == ["piapi"]

    def test_a_later_day_than_the_catalogues_holds_too(self) -> None:
        now = [8 * DAY]
        table = self.table(now)
        assert self.left(table, "later") == ["backup"]
        now[0] = 9 * DAY
        assert self.left(table, "later") == []

    def test_a_name_that_a_pattern_stands_for_has_its_own_day(self) -> None:
        now = [0]
        table = self.table(now)
        assert self.left(table, "g-1") == ["piapi", "backup"]
        assert self.left(table, "g-2") == ["piapi", "backup"]
        now[0] = DAY
        assert self.left(table, "g-1") == ["piapi"]
        assert self.left(table, "g-2") == ["piapi", "backup"]
        assert self.left(self.table([2 * DAY]), "g-1") == ["piapi"]
