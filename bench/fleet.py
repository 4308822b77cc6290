"""How many gateways, and where the next wall is: python -m bench.fleet [--costs PATH] [--seconds 5]

An EXTRAPOLATION: a queueing model (``fleet_model.py``) with service times that were measured on one machine
(``engine_costs.py``, kept in bench/results/fleet/, and the newest run of make bench). Nothing of this size was run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import results
from bench.engine_costs import Costs, table
from bench.fleet_model import SETTLED_EVERY, Mix, Seen, Service, gateways_needed, most, simulate

FOLDER = results.FOLDER / "fleet"
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
HOURLY = (1_000, 100_000, 10_000_000)
"""Requests an hour."""
BUSY = 0.6
"""What a gateway's core may be busy, so that there is room for the one that is gone."""
FREE = 1e-7
"""Seconds that a part takes which is left out."""
MANY = 24
TOO_SLOW = 0.05
"""Seconds added to one request in a hundred, beyond which a part counts as a wall."""
QUICK = Mix(streams=0.0, whole=0.5)
"""Requests that hold nobody's core for long: what is left is the engines."""


def newest_costs(folder: Path = FOLDER) -> Path:
    """The last that was kept. Raises FileNotFoundError."""
    found = max(folder.glob("*.json"), default=None)
    if found is None:
        raise FileNotFoundError(f"nothing was measured into {folder}: python -m bench.engine_costs --json …")
    return found


def service(costs: Sequence[Mapping[str, Any]], chunk_us: float) -> Service:
    """What was measured, as the model wants it. ``costs``: those of ``engine_costs``; ``chunk_us``: of one chunk.

    PostgreSQL's CPU is told apart into that of a round trip and that of a row by the two loads: alone, a request has
    round trips of its own; many at once share them. A request writes two rows: its intent, in a batch of its own when
    it is alone, and its settlement, in one with those that ended within the same moment.
    """
    alone, together = (
        next(one for one in costs if one["engine"].startswith("PostgreSQL") and (one["connections"] == 1) is single)
        for single in (True, False)
    )
    trip = (alone["postgres_cpu"] - together["postgres_cpu"]) / (alone["trips"] - together["trips"])
    row = (together["postgres_cpu"] - together["trips"] * trip) / 2
    if trip <= 0 or row <= 0:
        raise ValueError(f"these figures tell no round trip from a row: {trip:.0f} µs, {row:.0f} µs")
    statements = alone["trips"] / (1 + 1 / (1 + alone["rate"] * SETTLED_EVERY))
    return Service(
        request_cpu=together["gateway_cpu"] / 1e6,
        chunk_cpu=chunk_us / 1e6,
        batch_cpu=statements * trip / 1e6,
        row_cpu=row / 1e6,
        valkey_cpu=together["valkey_cpu"] / 1e6,
        statements_a_batch=statements,
    )


def chunk_us() -> float:
    """CPU of a chunk, of the newest run of make bench."""
    path = results.newest()
    if path is None:
        raise FileNotFoundError("make bench-results was never kept")
    told = json.loads(path.read_text(encoding="utf-8"))
    row = next(row for row in told["rows"] if row["name"] == "chunk")
    return float(row["servers"]["gateway"]["median"])


def sizes(measured: Service, mix: Mix, seconds: float) -> list[tuple[int, int, Seen]]:
    """Requests an hour, the gateways they need, and what the model sees of them."""
    found = []
    for hourly in HOURLY:
        rate = hourly / 3600
        count = gateways_needed(rate, mix, measured, BUSY)
        enough = seconds if rate > 100 else 200 * seconds  # where few come, long enough to see some
        seen = simulate(rate, count, mix, measured, seconds=enough, warm_up=mix.seconds_upstream * 1.5)
        found.append((hourly, count, seen))
    return found


def wall(given: Service, mix: Mix, gateways: int, *, seconds: float = 1.0, precise: float = 0.05) -> float:
    """The most requests a second of which 99 in a hundred wait for less than TOO_SLOW.

    ``seconds``: of simulated time for each rate that is tried; ``precise``: to which share a rate is found.
    """

    def holds(rate: float) -> bool:
        seen = simulate(rate, gateways, mix, given, seconds=seconds, warm_up=0.3)
        return seen.added_p99 < TOO_SLOW and seen.rate > 0.8 * rate

    return most(holds, 100, 80_000, precise)


def walls(measured: Service) -> list[tuple[str, float]]:
    """What gives way, and at how many requests a second: a core, PostgreSQL by its cores, one key's row, Valkey."""
    free = replace(measured, request_cpu=FREE, valkey_cpu=FREE)  # what is left is PostgreSQL
    sixteen = replace(free, postgres_cores=16)
    valkey = replace(measured, request_cpu=FREE, batch_cpu=FREE, row_cpu=FREE)
    return [
        ("one gateway's core, requests without chunks", wall(measured, QUICK, 1)),
        (f"PostgreSQL of four cores, {MANY} gateways", wall(free, QUICK, MANY)),
        (f"PostgreSQL of sixteen cores, {MANY} gateways", wall(sixteen, QUICK, MANY)),
        (f"the row of one key's budget, {MANY} gateways", wall(sixteen, replace(QUICK, hot=1.0), MANY)),
        ("one Valkey", wall(valkey, QUICK, MANY)),
    ]


def text(found: Sequence[tuple[int, int, Seen]], limits: Sequence[tuple[str, float]]) -> str:
    """Two tables in Markdown."""
    rows = [
        "| requests an hour | a second | gateways | their cores busy | in flight | added p50, p99 | PostgreSQL busy "
        "(4 cores), statements a second | Valkey busy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {hourly:,} | {hourly / 3600:,.1f} | {count} | {seen.gateway_busy:.1%} | {seen.in_flight:,.0f} "
        f"| {seen.added_p50 * 1000:.1f} ms, {seen.added_p99 * 1000:.1f} ms "
        f"| {seen.postgres_busy:.1%}, {seen.statements:,.0f} | {seen.valkey_busy:.1%} |"
        for hourly, count, seen in found
    ]
    rows += ["", "| what gives way | at requests a second |", "|---|---|"]
    rows += [f"| {name} | {rate:,.0f} |" for name, rate in limits]
    return "\n".join(rows)


def kept(path: Path) -> dict[str, Any]:
    """A file of ``engine_costs``, with what was extrapolated from it."""
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


def extrapolated(told: Mapping[str, Any]) -> str:
    """The tables, from a file that has them."""
    found = [(hourly, count, Seen(**seen)) for hourly, count, seen in told["sizes"]]
    return text(found, [(name, rate) for name, rate in told["walls"]])


def page(told: Mapping[str, Any], before: str) -> str:
    """docs/scaling.md with the tables of a file in the places that are marked for them."""
    met = told["conditions"]
    costs = table([Costs(**one) for one in told["costs"]])
    costs += f"\n\nMeasured at commit {met['commit']} on {met['machine']}, {met['date']}."
    for name, made in (("costs", costs), ("extrapolated", extrapolated(told))):
        beginning, end = f"<!-- {name}: python -m bench.fleet --keep -->\n", f"<!-- /{name} -->"
        if (before.count(beginning), before.count(end)) != (1, 1):
            raise ValueError(f"{PAGE.name} has no place for {name}")
        head, _, rest = before.partition(beginning)
        before = f"{head}{beginning}\n{made}\n\n{end}{rest.partition(end)[2]}"
    return before


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.fleet", description="An extrapolation from one machine to a fleet.")
    parser.add_argument("--costs", type=Path, help="figures of bench.engine_costs (default: the newest that were kept)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of simulated time at the highest rate (default 5)")
    parser.add_argument("--keep", action="store_true", help="write them into that file and into docs/scaling.md")
    options = parser.parse_args(arguments)
    path = options.costs or newest_costs()
    told = kept(path)
    measured = service(told["costs"], chunk_us())
    found, limits = sizes(measured, Mix(), options.seconds), walls(measured)
    print(f"EXTRAPOLATED by a model from {path.name}: {measured}\n")
    print(text(found, limits))
    if options.keep:
        told |= {"sizes": [(hourly, count, asdict(seen)) for hourly, count, seen in found], "walls": limits}
        path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(page(kept(path), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
