"""The free reads of doubted keys, in virtual time: how many there are, how far apart, and what follows from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.app import key_checks
from gateway.app.key_checks import APART, APART_AT_MOST, REFUSED_AT_MOST, KeyChecks
from gateway.core.routing.route_table import UpstreamStates
from gateway.core.types import Credential, FailoverPolicy
from gateway.exchange.services import Services
from gateway.runtime.tasks import TrackedTasks
from gateway.upstream.key_reading import KeyAnswer
from tests.core.builders import Chance, ended, upstream
from tests.virtual_time import VirtualTime

WORKS, REFUSED, SILENT = KeyAnswer(200, {"equivalent_in_usd": 50}), KeyAnswer(401), None


class Stage:
    """An upstream with one key, and what its account page answers from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: KeyAnswer | None) -> None:
        self.answer = answer
        self.reads: list[float] = []
        self.at_once = self.most_at_once = 0
        self.lasts = 0.5
        self.logged: list[str] = []
        self.where = upstream()
        states = UpstreamStates([self.where], FailoverPolicy())
        log = SimpleNamespace(
            warning=lambda event, **_: self.logged.append(event), info=lambda event, **_: self.logged.append(event)
        )
        self.crashes: list[BaseException] = []
        self.tasks = TrackedTasks(lambda _, error: self.crashes.append(error))
        services = SimpleNamespace(
            log=log, tasks=self.tasks, pool=None, snapshot=SimpleNamespace(states=states, points_per_usd=10_000_000)
        )
        self.services = services
        self.checks = KeyChecks(cast("Services", services))
        states.doubt = self.checks.doubt
        self.pool = states["piapi"].pool
        monkeypatch.setattr(key_checks, "ask_about_key", self._read)

    async def _read(self, *_: Any) -> KeyAnswer | None:
        self.reads.append(self.now)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.lasts)
        self.at_once -= 1
        return self.answer

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def refused(self, slug: str = "key_invalid", asker: str = "alice") -> None:
        """A request is answered so."""
        [key] = self.where.credentials
        doubt = self.pool.report(key, "m", ended(slug), self.now, Chance(), asker=asker, began=self.now)
        assert doubt is not None
        self.checks.doubt(self.where, key, doubt)

    def usable(self, asker: str = "alice") -> bool:
        taken = self.pool.take("m", self.now, Chance(), asker=asker)
        if isinstance(taken, Credential):
            self.pool.release(taken)
        return isinstance(taken, Credential)


def play(
    monkeypatch: pytest.MonkeyPatch, answer: KeyAnswer | None, story: Callable[[Stage], Coroutine[Any, Any, None]]
) -> Stage:
    stage = Stage(monkeypatch, answer)

    async def whole() -> None:
        await story(stage)
        await stage.tasks.cancel_all()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(whole())
    assert stage.crashes == []
    assert stage.most_at_once <= 1
    return stage


def test_a_key_that_works_is_usable_as_soon_as_the_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        stage.refused()
        assert not stage.usable()
        await asyncio.sleep(0.6)
        assert stage.usable()
        await asyncio.sleep(3600.0)
        assert len(stage.tasks) == 0

    assert len(play(monkeypatch, WORKS, story).reads) == 1


def test_an_hour_of_odd_requests_is_a_read_in_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        for _ in range(36_000):
            stage.refused()
            assert stage.usable("bob")
            await asyncio.sleep(0.1)

    stage = play(monkeypatch, WORKS, story)
    assert 60 <= len(stage.reads) <= 3600 / APART
    assert min(b - a for a, b in zip(stage.reads, stage.reads[1:], strict=False)) >= APART


def test_a_refused_key_rests_for_long_and_is_read_again_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        stage.refused()
        await asyncio.sleep(0.6)
        assert not stage.pool.available("a", stage.now)
        for _ in range(24 * 60):
            assert not stage.usable("bob")
            await asyncio.sleep(60.0)
        stage.answer = WORKS
        await asyncio.sleep(REFUSED_AT_MOST + 1.0)
        assert stage.usable("bob")
        assert stage.pool.available("a", stage.now)
        assert len(stage.tasks) == 0

    stage = play(monkeypatch, REFUSED, story)
    apart = [b - a for a, b in zip(stage.reads, stage.reads[1:], strict=False)]
    assert apart[:3] == pytest.approx([30.5, 60.5, 120.5])
    assert max(apart) <= REFUSED_AT_MOST + 1.0
    assert stage.logged == ["upstream_key_rests", "upstream_key_works_again"]


def test_an_account_without_money_is_found_so_and_found_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        stage.refused("key_unfunded")
        await asyncio.sleep(1.0)
        assert stage.pool.exhaustion("m", stage.now) is not None
        stage.answer = WORKS
        await asyncio.sleep(31.0)
        assert stage.usable()

    play(monkeypatch, KeyAnswer(200, {"equivalent_in_usd": 0}), story)


@pytest.mark.parametrize("answer", [SILENT, KeyAnswer(500), KeyAnswer(429), KeyAnswer(403), KeyAnswer(404)])
def test_reads_that_tell_nothing_come_ever_more_rarely_and_end_with_the_doubt(
    answer: KeyAnswer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stage: Stage) -> None:
        for _ in range(360):
            stage.refused()
            assert stage.usable("bob")
            await asyncio.sleep(10.0)
        reads = len(stage.reads)
        await asyncio.sleep(3600.0)
        assert len(stage.reads) - reads <= 2
        assert len(stage.tasks) == 0

    stage = play(monkeypatch, answer, story)
    apart = [b - a for a, b in zip(stage.reads, stage.reads[1:], strict=False)]
    assert apart[0] >= APART
    assert all(gap >= APART_AT_MOST - 1.0 for gap in apart[5:-2])


def test_a_key_revoked_right_after_a_good_read_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        stage.refused()
        await asyncio.sleep(1.0)
        stage.answer = REFUSED
        for _ in range(10):
            stage.refused()
            await asyncio.sleep(0.6)
        assert not stage.usable("bob")

    play(monkeypatch, WORKS, story)


def test_a_key_that_a_reload_took_away_is_read_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        stage.refused()
        await asyncio.sleep(1.0)
        stage.services.snapshot.states = UpstreamStates([upstream(keys=("new",))], FailoverPolicy())
        await asyncio.sleep(3600.0)
        assert len(stage.reads) == 1
        assert len(stage.tasks) == 0

    play(monkeypatch, REFUSED, story)
