"""What the log is told of models that end, day after day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.app.endings import LAST_TOLD, tell_of_ends, watch_ends
from gateway.config import Config, load, without_ends
from gateway.runtime import today
from tests.days import TODAY, in_days, noon_ns
from tests.virtual_time import VirtualTime

Written = Callable[..., Config]
DAY = 86_400


class Lines:
    """The part of a log that is used here."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.quiet: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, /, **fields: Any) -> None:
        self.told.append((event, fields))

    def info(self, event: str, /, **fields: Any) -> None:
        self.quiet.append((event, fields))

    def of(self, model: str) -> list[str]:
        return [event for event, fields in (*self.told, *self.quiet) if fields.get("model") == model]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A configuration of which the model ``ours`` has its last day in so many days."""

    def write(days: int) -> Config:
        path = tmp_path / "config.yaml"
        target = f"{{upstream: backup, shutdown: {in_days(days)}, successor: gpt-6-luna}}"
        path.write_text(f"upstreams: {{backup: {{keys: [k]}}}}\nmodels: {{ours: {{targets: [{target}]}}}}\n")
        return load(path, {})

    return write


def told_in(days: float, config: Config, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the log is told of ``ours`` in so many days from noon: after how many seconds, and what."""
    lines = Lines()
    found: list[tuple[float, str]] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(today, "wall_ns", lambda: noon_ns(TODAY) + int(loop.time() * 1e9))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch_ends(SimpleNamespace(config=config), lines))  # type: ignore[arg-type]
            for _ in range(int(days * 24)):
                await asyncio.sleep(3600)
                found.extend((loop.time(), event) for event in lines.of("ours"))
                lines.told.clear()
                lines.quiet.clear()
            watching.cancel()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(story())
    return found


def test_it_is_told_again_when_a_day_begins(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_in(3, written(1), monkeypatch)
    assert [event for _, event in told] == ["model_ends", "model_ended", "model_ended"]
    assert [int(seconds // DAY + 0.5) for seconds, _ in told] == [0, 1, 2]
    assert all(DAY / 2 < seconds % DAY <= DAY / 2 + 3600 for seconds, _ in told)


def test_it_begins_thirty_days_ahead(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [seconds // DAY for seconds, _ in told_in(3, written(32), monkeypatch)] == [1, 2]


def test_it_is_not_told_every_day_for_ever(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(told_in(5, written(2 - LAST_TOLD), monkeypatch)) == 2
    config, lines = written(-1000), Lines()
    assert told_in(3, config, monkeypatch) == []
    monkeypatch.setattr(today, "wall_ns", lambda: noon_ns(TODAY + timedelta(days=1)))
    tell_of_ends(config, lines)  # type: ignore[arg-type]
    assert lines.of("ours") == ["model_ended"]


def test_where_the_upstreams_are_not_the_real_ones_nothing_ends(written: Written) -> None:
    lines = Lines()
    tell_of_ends(without_ends(written(-1)), lines)  # type: ignore[arg-type]
    assert lines.told == []


def test_many_ends_are_one_warning_and_a_quiet_line_each(tmp_path: Path) -> None:
    def tell(**days: int) -> Lines:
        path, lines = tmp_path / "config.yaml", Lines()
        entries = "".join(
            f"  {name}: {{targets: [{{upstream: backup, shutdown: {in_days(many)}, successor: after-{name}}}"
            f"{', {upstream: piapi}' if name == 'kept' else ''}]}}\n"
            for name, many in days.items()
        )
        path.write_text(f"upstreams: {{backup: {{keys: [k]}}, piapi: {{keys: [k]}}}}\nmodels:\n{entries}")
        config = load(path, {})
        tell_of_ends(replace(config, declared=[one for one in config.declared if one.model in days]), lines)  # type: ignore[arg-type]
        return lines

    lines = tell(kept=20, over=-40, next=3, far=31, late=30)
    ((event, fields),) = lines.told
    assert event == "models_end"
    assert (fields["ended"], fields["ending"], fields["unserved"]) == (1, 3, 3)
    assert (fields["nearest"], fields["shutdown"], fields["successor"]) == ("next", in_days(3), "after-next")
    assert fields["message"].startswith("4 models have ended or end within 30 days, and 3 of them nothing else serves")
    assert f"'next', ending on {in_days(3)}" in fields["message"]
    assert sorted((event, each["model"]) for event, each in lines.quiet) == [
        ("model_ended", "over"),
        ("model_ends", "kept"),
        ("model_ends", "late"),
        ("model_ends", "next"),
    ]
    (one,) = [each for _, each in lines.quiet if each["model"] == "next"]
    assert "change that target to model: after-next" in one["message"]

    lines = tell(long=-40, lately=-1)
    assert [(event, fields["nearest"]) for event, fields in lines.told] == [("models_end", "lately")]

    lines = tell(only=3, far=31)
    assert [(event, fields["model"]) for event, fields in lines.told] == [("model_ends", "only")]
    assert lines.quiet == []
