"""python -m bench: speed and memory of the gateway and its peers, in the same interleaved rounds."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from bench import alone, measures
from bench.clients import BenchError
from bench.conditions import conditions
from bench.load import has_wrk
from bench.measures import IDLE_STREAMS, Setting, lab
from bench.peers import PEERS, Peer, present
from bench.processes import allow_descriptors, load_core
from bench.profile import LOADS, profile
from bench.report import Row
from bench.results import Run

MEASURES = measures.MEASURES + alone.MEASURES


def main() -> int:
    """Exit code: 0 measured, whatever the figures; 1 not measured; 2 bad usage or not Linux."""
    options = _options()
    if not sys.platform.startswith("linux"):
        print("bench: reads /proc and pins processes to cores: only Linux has both", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _terminated)
    if options.python:
        os.environ["BENCH_PYTHON"] = str(options.python.absolute())
    wrk = not options.no_wrk and has_wrk(options.seconds)
    idle = IDLE_STREAMS // 2 if options.quick else IDLE_STREAMS
    # A stream takes two descriptors of the server.
    setting = Setting(options.seconds, wrk, max(1, min(idle, (allow_descriptors() - 200) // 2)))
    os.sched_setaffinity(0, {load_core()})
    told = conditions()
    told["rounds"] = f"{options.rounds} × {options.seconds:g} s, requests by {'wrk' if wrk else 'our own client'}"
    told["idle streams"] = f"{setting.idle_streams:,}"
    try:
        if options.profile:
            print(profile(options.profile, options.seconds))
            return 0
        missing = _missing(options.peer)
        rows = _measure(options, setting, missing)
        run = Run(told, rows, missing)
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(run.dumped(), encoding="utf-8")
    print(run.markdown() if options.markdown else run.text())
    return 0


def _measure(options: argparse.Namespace, setting: Setting, missing: dict[str, str]) -> list[Row]:
    """``missing`` gets the peers that failed on the way."""
    chosen = [measure for measure in MEASURES if not options.only or measure.name in options.only]
    rows = {measure.name: [Row(measure.name, goal) for goal in measure.goals] for measure in chosen}
    _progress("starting")
    try:
        with lab(_peers(options.peer)) as running:
            for turn in range(1, options.rounds + 1):
                running.turn = turn
                for measure in chosen:
                    if turn == 1 or not measure.once:
                        running.doing = measure.name
                        _progress(f"round {turn} of {options.rounds}: {measure.name}")
                        measure.run(running, setting, rows[measure.name])
                running.drop_logs()
            missing.update({name: f"failed: {why}" for name, why in running.failed.items()})
    finally:
        _progress("")
    return [row for measure in chosen for row in rows[measure.name]]


def _peers(names: list[str] | None) -> list[Peer]:
    return present(None if names is None else [name for name in names if name != "none"])


def _missing(names: list[str] | None) -> dict[str, str]:
    """Why peers are not in the tables."""
    chosen = [peer for peer in PEERS if names is None or peer.name in names]
    return {peer.name: f"not installed: {how}" for peer in chosen if (how := peer.missing())}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured; default: 5, quick: 2")
    parser.add_argument("--seconds", type=float, metavar="S", default=1.0, help="length of a window; default: 1")
    parser.add_argument("--quick", action="store_true", help="less exact: two rounds, half as many idle streams")
    names = [measure.name for measure in MEASURES]
    parser.add_argument("--only", action="append", choices=names, help="measure only this; may be repeated")
    peers = [*(peer.name for peer in PEERS), "none"]
    parser.add_argument("--peer", action="append", choices=peers, help="only beside this one; may be repeated")
    parser.add_argument(
        "--no-wrk", action="store_true", help="make requests with our own client where wrk is installed"
    )
    parser.add_argument(
        "--python", type=Path, metavar="FILE", help="run the gateway with this interpreter, which has what it needs"
    )
    parser.add_argument("--profile", choices=LOADS, help="instead: where the gateway's time goes under this load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the run there too, with every round")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/performance.md has them")
    options = parser.parse_args()
    options.rounds = options.rounds if options.rounds is not None else 2 if options.quick else 5
    if not 1 <= options.rounds <= 100 or not 0.1 <= options.seconds <= 60:
        parser.error("--rounds goes from 1 to 100, --seconds from 0.1 to 60")
    if options.python and not os.access(options.python, os.X_OK):
        parser.error(f"--python: {options.python} cannot be run")
    return options


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def _terminated(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: cleaning up is under way
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
