"""Draw the dashboards from their panels' real query results: python -m scripts.draw_dashboards

Without arguments: starts the sandbox, a gateway and Prometheus, plays traffic for two minutes, and draws what
Prometheus then answers into deploy/grafana/pictures/. With ``--prometheus URL --since SECONDS``: draws what that
one has. The pictures are charts of answers, not screenshots of Grafana, and say so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from scripts.dashboards.picture import FOLDER, answers, draw, empty, save
from scripts.dashboards.prometheus import Prometheus, eventually, installed, running_prometheus
from scripts.dashboards.queries import View, dashboards
from scripts.dashboards.rehearsal import ROUND, Stage, rehearsal

POINTS = 60
"""Points across a chart."""


async def draw_all(prometheus: Prometheus, view: View, source: str, folder: Path) -> None:
    """Every dashboard into ``folder``."""
    for name, dashboard in dashboards().items():
        found = await answers(dashboard, prometheus, view)
        nothing = empty(dashboard, found)
        save(draw(dashboard, found, view, source), dashboard, nothing, folder / f"{name}.png")
        print(f"drew {folder / name}.png", *(f"  nothing to show: {title}" for title in nothing), sep="\n")


async def rehearse(seconds: float, folder: Path) -> None:
    """Play traffic for so long, then draw."""
    with tempfile.TemporaryDirectory(prefix="piapi-gateway-drawing-") as scratch:
        place = Path(scratch)
        async with rehearsal(place) as stage, running_prometheus(place, stage.gateway.admin_url) as prometheus:

            async def scraped() -> bool:
                return await prometheus.number("gateway_build_info", time.time()) == 1

            await eventually(scraped, "a scrape")
            start = time.time()
            await _play(stage, seconds)
            end = time.time()
            view = View(start, end, (end - start) / POINTS, 10.0)
            source = f"{seconds:g} seconds of a rehearsal on the sandbox, nothing was bought"
            await draw_all(prometheus, view, source, folder)


async def look(url: str, since: float, folder: Path) -> None:
    """Draw what a running Prometheus has."""
    end = time.time()
    async with Prometheus.at(url) as prometheus:
        view = View(end - since, end, max(15.0, since / POINTS), max(60.0, since / POINTS))
        await draw_all(prometheus, view, f"the last {since:g} seconds", folder)


async def _play(stage: Stage, seconds: float) -> None:
    """The users' requests in another order each time, more of them in the middle; a host is away for a while."""
    chance = random.Random(1)
    start = time.monotonic()
    away = False
    while (passed := (time.monotonic() - start) / seconds) < 1:
        if (0.6 < passed < 0.75) != away:
            away = not away
            await (stage.sandbox.refuse("proxy") if away else stage.sandbox.listen("proxy"))
        await stage.play(tuple(chance.sample(ROUND, 3 + round(9 * (1 - abs(2 * passed - 1))))))
        await asyncio.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the dashboards from their panels' query results.")
    parser.add_argument("--prometheus", metavar="URL", help="draw what this one has, instead of a rehearsal")
    parser.add_argument(
        "--since", type=float, default=3600.0, metavar="SECONDS", help="with --prometheus: how far back"
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the rehearsal plays")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    options = parser.parse_args()
    if options.prometheus:
        asyncio.run(look(options.prometheus, options.since, options.into))
        return 0
    if not installed():
        print(
            "Prometheus is not installed (on Debian: apt-get install --no-install-recommends prometheus)",
            file=sys.stderr,
        )
        return 1
    asyncio.run(rehearse(options.seconds, options.into))
    return 0


if __name__ == "__main__":
    sys.exit(main())
