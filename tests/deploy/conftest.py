"""One rehearsal for all tests: a real gateway, traffic on the sandbox, a real Prometheus that scraped it, its answers.

Everything is asked once and kept, so that each panel has a test of its own. Where Prometheus is not installed the
gateway plays all the same, and what needs Prometheus skips.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.dashboards.picture import Answers, answers
from scripts.dashboards.prometheus import Prometheus, Series, eventually, installed, running_prometheus
from scripts.dashboards.queries import View, dashboards, variables
from scripts.dashboards.rehearsal import ROUND, Stage, rehearsal
from tests.e2e.books import Figures

ROUNDS = 3
SKIPPED = "Prometheus is not installed: NO PANEL WAS RUN. On Debian: apt-get install --no-install-recommends prometheus"

QUESTIONS = {
    "one dead host": 'sum by (endpoint) (gateway_endpoint_available{upstream="gone"})',
    "no such label": "sum by (colour) (gateway_requests_total)",
    "increase": "sum(increase(gateway_requests_total[{range}s]))",
}
"""Asked besides the panels: what a checker of panels must notice, and what ``increase`` alone says."""


@dataclass
class Recorded:
    """``metrics``: /metrics after the last request. ``values``: dashboard → variable → what it offers."""

    metrics: str
    view: View
    panels: dict[str, Answers] = field(default_factory=dict)
    values: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    questions: dict[str, list[Series]] = field(default_factory=dict)

    @property
    def figures(self) -> Figures:
        return Figures(self.metrics)


async def record(folder: Path) -> Recorded:
    """Play, scrape, ask."""
    async with rehearsal(folder) as stage:
        if not installed():
            await stage.play()
            return Recorded(await stage.metrics(), View(0.0, 1.0, 1.0, 1.0))
        async with running_prometheus(folder, stage.gateway.admin_url) as prometheus:
            await scraped(prometheus, stage)
            start = math.floor(time.time()) - 1
            for _ in range(ROUNDS):
                await stage.play()
                await scraped(prometheus, stage)
            await settled(prometheus)
            # Whole seconds, so that the last of the steps is the end, and no series is older than the range.
            end = math.ceil(time.time())
            await asyncio.sleep(end - time.time())
            return await look(prometheus, stage, View(start, end, 1.0, end - start))


async def scraped(prometheus: Prometheus, stage: Stage) -> None:
    """Wait until Prometheus has seen every request, and all their attempts, and its rules have been evaluated since."""

    async def seen() -> bool:
        figures, now = Figures(await stage.metrics()), time.time()
        for counter in ("gateway_requests_total", "gateway_upstream_attempts_total"):
            # Of work that goes on without its client, an attempt is counted after the request.
            if await prometheus.number(f"sum({counter}) or vector(0)", now) != figures.total(counter):
                return False
        up = await prometheus.number("sum(gateway_build_info)", now)
        ruled = await prometheus.number("count(gateway:picture_model:group) or vector(0)", now)
        return up == 1 and (ruled > 0 or figures.total("gateway_requests_total") == 0)

    await eventually(seen, "a scrape of all that was sent")


async def settled(prometheus: Prometheus) -> None:
    """Give the ledger's gauge time to follow. If it does not, the tests of money say so."""

    async def equal() -> bool:
        difference = "abs(sum(gateway_ledger_charged_usd) - sum(gateway_cost_usd_total)) < bool 0.0000000005"
        return await prometheus.number(difference, time.time()) == 1

    try:
        await eventually(equal, "the ledger's gauge to follow", within=10.0)
    except TimeoutError:
        pass


async def look(prometheus: Prometheus, stage: Stage, view: View) -> Recorded:
    """Ask everything that the tests look at."""
    recorded = Recorded(await stage.metrics(), view)
    for name, dashboard in dashboards().items():
        recorded.panels[name] = await answers(dashboard, prometheus, view)
        recorded.values[name] = {
            variable: await prometheus.label_values(metric, label)
            for variable, (metric, label) in variables(dashboard).items()
        }
    for name, query in QUESTIONS.items():
        asked = query.replace("{range}", view.windows()["__range"].removesuffix("s"))
        recorded.questions[name] = await prometheus.instant(asked, view.end)
    return recorded


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The rehearsal, played once."""
    return asyncio.run(record(tmp_path_factory.mktemp("rehearsal")))


@pytest.fixture
def answered(recorded: Recorded) -> Recorded:
    """The rehearsal with Prometheus's answers; skips where there is no Prometheus."""
    if not installed():
        pytest.skip(SKIPPED)
    return recorded


def requests_sent() -> int:
    """In all rounds."""
    return ROUNDS * len(ROUND)
