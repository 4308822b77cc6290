"""The models a key is shown: the catalogue's, those that upstreams list, and none that it may not use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from gateway.core.listed_model import ListedModel
from gateway.core.routing.listed_models import NOTHING_LISTED, ListedModels
from gateway.core.routing.model_listing import CREATED, ModelListing
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Route, Target
from tests.core.builders import backup, target, upstream

DAY = 86_400 * 10**9
BORN = 1_700_000_000
PIAPI, BACKUP = upstream(), backup()


def ending(one: Target, day: int) -> Target:
    return replace(one, shutdown=f"1970-01-0{day}", ends_ns=day * DAY)


ROUTES = (
    Route("gpt-4o", (target(PIAPI), target(BACKUP))),
    Route("unpriced", (target(PIAPI, "unpriced", price=None),)),
    Route("ends", (ending(target(PIAPI, "ends"), 4), ending(target(BACKUP, "ends"), 6)), aliases=("alias",)),
    Route("ends-at-one", (target(PIAPI, "ends-at-one"), ending(target(BACKUP, "ends-at-one"), 6))),
    Route("gone", (ending(target(BACKUP, "gone"), 1),)),
    Route("gizmo-*", (target(PIAPI, "their-gizmo-*"),)),
)


def lists(**upstreams: Iterable[ListedModel]) -> ListedModels:
    made = NOTHING_LISTED
    for name, models in upstreams.items():
        made = made.answered(name, models, 0)
    return made


def model(id: str, owner: str = "vendor", day: int | None = None) -> ListedModel:
    return ListedModel(id, owner, BORN, f"1970-01-0{day}" if day else "", day * DAY if day else None)


def listing(known: ListedModels = NOTHING_LISTED, *relaying: str, day: int = 1) -> ModelListing:
    table = RouteTable(ROUTES, lambda: day * DAY, dated=known.dated)
    return ModelListing(table, known, day * DAY, relaying)


def names(of: ModelListing, *patterns: str, priced: bool = False) -> list[str]:
    return [one["id"] for one in of.shown(patterns or ("*",), priced=priced)]


CATALOGUE = ["ends", "ends-at-one", "gpt-4o", "unpriced"]


def test_without_lists_it_is_the_catalogue() -> None:
    assert names(listing()) == CATALOGUE
    assert names(listing(NOTHING_LISTED, "piapi", "backup")) == CATALOGUE


def test_what_is_listed_is_shown_if_models_are_relayed_there() -> None:
    known = lists(backup=[model("org/new"), model("gpt-4o")], piapi=[model("other")])
    assert names(listing(known)) == CATALOGUE
    assert names(listing(known, "backup")) == sorted([*CATALOGUE, "org/new"])
    assert names(listing(known, "piapi", "backup")) == sorted([*CATALOGUE, "org/new", "other"])


def test_a_listed_model_in_full() -> None:
    known = lists(piapi=[model("new", "")], backup=[model("new", "system", 5), model("plain", "", 5)])
    [new] = listing(known, "piapi", "backup").shown(["new"], priced=False)
    assert new == {"id": "new", "object": "model", "created": BORN, "owned_by": "system"}
    [new] = listing(known, "backup").shown(["new"], priced=False)
    assert new == {
        "id": "new",
        "object": "model",
        "created": BORN,
        "owned_by": "system",
        "shutdown_date": "1970-01-05",
    }
    [plain] = listing(known, "backup").shown(["plain"], priced=False)
    assert plain["owned_by"] == "backup"
    assert listing(known, "backup").one("plain", ["*"], priced=False) == plain


def test_a_listed_model_that_has_ended_everywhere_is_not_shown() -> None:
    known = lists(piapi=[model("half", day=2)], backup=[model("half", day=5), model("over", day=2)])
    assert names(listing(known, "piapi", "backup", day=2), "half", "over") == ["half"]
    [half] = listing(known, "piapi", "backup", day=2).shown(["half"], priced=False)
    assert half["shutdown_date"] == "1970-01-05"
    assert names(listing(known, "piapi", "backup", day=5), "half", "over") == []


@pytest.mark.parametrize(
    ("name", "last_day"), [("gpt-4o", None), ("ends", "1970-01-06"), ("ends-at-one", None), ("alias", "1970-01-06")]
)
def test_a_model_of_the_catalogue_ends_with_its_last_target(name: str, last_day: str | None) -> None:
    shown = listing().one(name, ["*"], priced=False)
    assert shown is not None
    assert shown.get("shutdown_date") == last_day
    assert ("shutdown_date" in shown) == (last_day is not None)


def test_an_upstreams_own_day_wins_over_the_catalogues() -> None:
    known = lists(backup=[model("ends", day=9), model("ends-at-one", day=1)])
    of = listing(known)
    ends, at_one = of.one("ends", ["*"], priced=False), of.one("ends-at-one", ["*"], priced=False)
    assert ends is not None
    assert at_one is not None
    assert (ends["shutdown_date"], at_one.get("shutdown_date")) == ("1970-01-09", None)
    assert (ends["created"], at_one["created"]) == (BORN, CREATED), "the target left is not listed"
    assert "gpt-4o" not in names(listing(lists(piapi=[model("gpt-4o", day=1)], backup=[model("gpt-4o", day=1)])))


def test_a_model_whose_every_target_is_gone_is_not_shown_though_it_is_listed_and_models_are_relayed() -> None:
    """Its upstream names no day, so the catalogue's holds."""
    of = listing(lists(backup=[model("gone")]), "backup", day=2)
    assert of.one("gone", ["*"], priced=False) is None
    assert "gone" not in names(of)


def test_names_that_a_pattern_stands_for_are_those_its_upstream_lists() -> None:
    known = lists(piapi=[model("their-gizmo-1"), model("their-gizmo-"), model("else")], backup=[model("their-gizmo-2")])
    assert names(listing(known), "gizmo-*") == ["gizmo-1"]
    assert listing().one("gizmo-7", ["*"], priced=False) is not None
    assert listing(known).one("gizmo-*", ["*"], priced=False) is None


@pytest.mark.parametrize("name", ["dall-e-3", "sora-2", "gpt-realtime", "rerank-v3"])
def test_what_no_route_serves_is_not_shown(name: str) -> None:
    of = listing(lists(backup=[model(name), model("chats")]), "backup")
    assert names(of) == sorted([*CATALOGUE, "chats"])
    assert of.one(name, ["*"], priced=False) is None


def test_a_name_that_only_a_keys_permission_knows_is_shown() -> None:
    assert names(listing(), "gizmo-mine", "nothing") == ["gizmo-mine"]
    assert names(listing(), "*", "gizmo-mine") == ["ends", "ends-at-one", "gizmo-mine", "gpt-4o", "unpriced"]


def test_a_key_sees_what_it_may_use() -> None:
    of = listing(lists(backup=[model("new"), model("newer"), model("secret")]), "backup")
    assert names(of, "new*") == ["new", "newer"]
    assert names(of, "gpt-*", "secret") == ["gpt-4o", "secret"]
    assert of.one("secret", ["new*"], priced=False) is None


def test_a_pattern_that_ends_before_a_slash_shows_nothing_behind_it() -> None:
    of = listing(lists(backup=[model("gpt-4o/other"), model("acme/new")]), "backup")
    assert names(of, "gpt-4o*") == ["gpt-4o"]
    assert of.one("gpt-4o/other", ["gpt-4o*"], priced=False) is None
    assert names(of, "acme/*") == ["acme/new"]
    assert of.one("acme/new", ["acme/*"], priced=False) is not None


def test_a_key_with_a_budget_sees_only_what_has_a_price() -> None:
    of = listing(lists(backup=[model("new")]), "backup")
    assert names(of, priced=True) == ["ends", "ends-at-one", "gpt-4o"]
    for unpriced in ("new", "unpriced"):
        assert of.one(unpriced, ["*"], priced=True) is None
        assert of.one(unpriced, ["*"], priced=False) is not None


def test_a_relayed_model_may_have_a_price() -> None:
    known = lists(backup=[model("new"), model("newer")])
    priced = Route("new", (target(BACKUP, "new"),))
    of = replace(listing(known, "backup"), relayed={"new": priced}.get)
    assert names(of, "new*", priced=True) == ["new"]
    assert names(of, "new*") == ["new", "newer"]


@pytest.mark.parametrize("name", ["nothing", "", "*", "gizmo-*", "gone"])
def test_what_is_not_there(name: str) -> None:
    assert listing(lists(backup=[model("new")]), "backup").one(name, ["*"], priced=False) is None
