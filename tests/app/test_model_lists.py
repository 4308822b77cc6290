"""When upstreams are asked what they list, and what becomes of the answers; hours pass in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from gateway.app import model_lists
from gateway.app.model_lists import ASK_EVERY, ModelLists
from gateway.config import Config, load
from gateway.core.listed_model import ListedModel
from gateway.core.types import Credential, Endpoint, Route, Target, Upstream
from gateway.runtime import today
from gateway.upstream.model_list import ModelListAnswer
from tests.core.builders import Chance
from tests.exchange.scripted import now, play
from tests.exchange.stage import BACKUP, BACKUP_HOST, PIAPI, Stage

HOUR = 3600.0
DAY = 86_400 * 10**9
OTHER_HOST = Endpoint("https://other.example", "https", "other.example", 443)
NEVER_ENDING = "hangs"

ONE = (ListedModel("gpt-4o"),)
PAST = (
    ListedModel("gpt-4o", shutdown="1970-01-01", ends_ns=0),
    ListedModel("unused", shutdown="1970-01-01", ends_ns=0),
)
FUTURE = (ListedModel("gpt-4o", shutdown="2099-12-31", ends_ns=10**18 * 4),)


@dataclass
class World:
    """A gateway's lists, and what upstreams answer: the first of ``answers`` that is left, the last again and again."""

    answers: dict[str, list[Any]]
    asked: list[tuple[float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stage = Stage()
        self.services = self.stage.services
        self.config = configuration(PIAPI, BACKUP)
        self.lists = ModelLists(self.services, self.config)

    async def ask(self, pool: Any, upstream: Upstream) -> ModelListAnswer:
        self.asked.append((now(), upstream.name, upstream.credentials[0].name))
        answers = self.answers[upstream.name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == NEVER_ENDING:
            await asyncio.sleep(1e9)
        return cast("ModelListAnswer", answer)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return self.stage.log.of(event)

    def targets(self, model: str = "gpt-4o") -> list[str]:
        route = self.services.snapshot.routes.find(model)
        assert route is not None
        return [target.upstream.name for target in route.targets]


def configuration(*upstreams: Upstream) -> Config:
    """The built-in one with these upstreams, and with one model which each of them serves."""
    routes = (Route("gpt-4o", tuple(Target(upstream, "gpt-4o") for upstream in upstreams)),)
    return replace(load(None, {}), upstreams={upstream.name: upstream for upstream in upstreams}, routes=routes)


Story = Callable[[World], Coroutine[Any, Any, None]]


def told(monkeypatch: pytest.MonkeyPatch, story: Story, *, piapi: Sequence[Any], backup: Sequence[Any]) -> World:
    """The story in virtual time, with everything stopped at its end."""
    worlds: list[World] = []

    async def run() -> None:
        world = World({"piapi": list(piapi), "backup": list(backup)})
        worlds.append(world)
        monkeypatch.setattr(model_lists, "ask_model_list", world.ask)
        await story(world)
        await world.stage.tasks.cancel_all()

    play(run)
    assert worlds[0].stage.crashes == []
    return worlds[0]


def test_each_is_asked_at_the_start_and_every_hour_give_or_take(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(2 * HOUR + 1)

    world = told(monkeypatch, story, piapi=["answered 404"], backup=[ONE])
    assert world.asked == [
        (at * ASK_EVERY, name, key) for at in range(3) for name, key in (("piapi", "first"), ("backup", "spare"))
    ]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 3240.0), (0.5, 3600.0), (1.0, 3960.0)])
def test_not_all_gateways_at_the_same_time(monkeypatch: pytest.MonkeyPatch, chance: float, seconds: float) -> None:
    async def story(world: World) -> None:
        world.services.randomness = cast("Any", Chance(chance))
        world.lists.start()
        await asyncio.sleep(seconds + 1)

    world = told(monkeypatch, story, piapi=["answered 404"], backup=[ONE])
    assert [at for at, name, _ in world.asked if name == "backup"] == pytest.approx([0.0, seconds])


def test_nothing_is_asked_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.configure(world.config)
        await asyncio.sleep(5 * HOUR)

    assert told(monkeypatch, story, piapi=[ONE], backup=[ONE]).asked == []


def test_an_upstream_that_never_answers_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(HOUR + 1)
        assert list(world.lists.lists.models("backup")) == ["gpt-4o"]

    world = told(monkeypatch, story, piapi=[NEVER_ENDING], backup=[ONE])
    assert [name for _, name, _ in world.asked] == ["piapi", "backup", "backup"]


def test_a_list_that_cannot_be_had_is_a_line_in_the_log_and_the_last_good_one_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(HOUR + 1)
        assert list(world.lists.lists.models("backup")) == ["gpt-4o"]
        assert world.lists.lists.of("backup").reason == "answered 503"

    world = told(monkeypatch, story, piapi=["answered 404"], backup=[ONE, "answered 503"])
    assert world.logged("models_listed") == [{"upstream": "backup", "models": 1}]
    assert {"upstream": "piapi", "reason": "answered 404"} in world.logged("models_not_listed")
    health = world.services.snapshot.states.describe(0.0)
    assert {place["breaker"] for one in health for place in one["endpoints"]} == {"closed"}
    assert {key["cooling"] for one in health for key in one["keys"]} == {None}


def test_a_reload_asks_those_that_changed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(100)
        world.lists.configure(configuration(PIAPI, BACKUP))
        await asyncio.sleep(100)
        world.lists.configure(configuration(PIAPI, replace(BACKUP, credentials=(Credential("new", "v"),))))
        await asyncio.sleep(HOUR - 1)

    world = told(monkeypatch, story, piapi=["answered 404"], backup=[ONE])
    assert [(at, key) for at, name, key in world.asked if name == "backup"] == [(0.0, "spare"), (200.0, "new")]
    assert [at for at, name, _ in world.asked if name == "piapi"] == [0.0, HOUR]


def test_a_hanging_question_is_dropped_by_a_reload_that_changed_its_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(1)
        world.lists.configure(configuration(PIAPI, replace(BACKUP, credentials=(Credential("new", "v"),))))
        await asyncio.sleep(1)
        assert list(world.lists.lists.models("backup")) == ["gpt-4o"]

    world = told(monkeypatch, story, piapi=["answered 404"], backup=[NEVER_ENDING, ONE])
    assert len(world.stage.tasks) == 0


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        (replace(BACKUP, credentials=(Credential("new", "v"),)), ["gpt-4o"]),
        (replace(BACKUP, endpoints=(BACKUP_HOST, OTHER_HOST)), ["gpt-4o"]),
        (replace(BACKUP, endpoints=(OTHER_HOST,)), []),
        (replace(BACKUP, credentials=()), []),
        (replace(BACKUP, name="another"), []),
    ],
)
def test_after_a_reload_a_list_is_kept_while_it_is_the_same_provider(
    monkeypatch: pytest.MonkeyPatch, changed: Upstream, kept: list[str]
) -> None:
    async def story(world: World) -> None:
        world.answers["another"] = ["answered 404"]
        world.lists.start()
        await asyncio.sleep(1)
        world.lists.configure(configuration(PIAPI, changed))
        assert list(world.lists.lists.models("backup")) == kept

    told(monkeypatch, story, piapi=["answered 404"], backup=[ONE, NEVER_ENDING])


def test_a_last_day_that_is_over_takes_its_target_off_the_route_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(world: World) -> None:
        before = world.services.snapshot
        world.lists.start()
        await asyncio.sleep(1)
        assert world.targets() == ["piapi"]
        assert world.services.snapshot.states is before.states
        assert [target.upstream.name for route in before.routes for target in route.targets] == ["piapi", "backup"]
        await asyncio.sleep(3 * HOUR)
        world.lists.configure(configuration(PIAPI, BACKUP))

    world = told(monkeypatch, story, piapi=["answered 404"], backup=[PAST])
    [line] = world.logged("model_shut_down")
    assert (line["upstream"], line["model"], line["shutdown_date"]) == ("backup", "gpt-4o", "1970-01-01")


def test_a_day_that_passes_meanwhile_is_told_with_the_next_list(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = 1_700_000_000 * 10**9 + int(1.5 * HOUR) * 10**9

    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(1.5 * HOUR - 1)
        assert world.targets() == ["piapi", "backup"]
        await asyncio.sleep(2)
        assert world.targets() == ["piapi"]
        assert world.logged("model_shut_down") == []
        await asyncio.sleep(HOUR)

    monkeypatch.setattr(today, "wall_ns", lambda: 1_700_000_000 * 10**9 + int(now()) * 10**9)
    listed = (ListedModel("gpt-4o", shutdown="2023-11-14", ends_ns=soon),)
    world = told(monkeypatch, story, piapi=["answered 404"], backup=[listed])
    assert len(world.logged("model_shut_down")) == 1


def test_a_day_that_is_taken_back_brings_the_target_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(1)
        assert world.targets() == ["piapi"]
        await asyncio.sleep(HOUR)
        assert world.targets() == ["piapi", "backup"]
        same = world.services.snapshot
        await asyncio.sleep(HOUR)
        assert world.services.snapshot is same, "nothing new, nothing made anew"

    told(monkeypatch, story, piapi=["answered 404"], backup=[PAST, FUTURE, FUTURE])


def test_shutdown_waits_for_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.lists.start()
        await asyncio.sleep(1)
        began = now()
        await world.stage.tasks.cancel_all()
        assert now() == began
        assert len(world.stage.tasks) == 0

    told(monkeypatch, story, piapi=[NEVER_ENDING], backup=[NEVER_ENDING])
