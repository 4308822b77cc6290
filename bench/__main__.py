"""python -m bench: the gateway's speed and memory beside nginx and a direct run, in the same interleaved rounds."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from bench import report
from bench.clients import BenchError
from bench.load import has_wrk
from bench.measures import IDLE_STREAMS, MEASURES, Measure, Setting, lab
from bench.profile import LOADS, profile
from bench.report import Row
from bench.servers import allow_descriptors, load_core, nginx, server_core

LEGEND = (
    "Cells are best / median of the rounds. A goal is met if one round met it and carried its load."
    " 'added' figures are beyond direct's; × nginx compares the medians."
)


def main() -> int:
    """Exit code: 0 measured, whatever the figures; 1 not measured; 2 bad usage or not Linux."""
    options = _options()
    if not sys.platform.startswith("linux"):
        print("bench: reads /proc and pins processes to cores: only Linux has both", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _terminated)
    measures = [measure for measure in MEASURES if not options.only or measure.name in options.only]
    wrk = not options.no_wrk and has_wrk(options.seconds)
    idle = IDLE_STREAMS // 2 if options.quick else IDLE_STREAMS
    # A stream takes two descriptors of the server.
    setting = Setting(options.seconds, wrk, max(1, min(idle, (allow_descriptors() - 200) // 2)))
    os.sched_setaffinity(0, {load_core()})
    conditions = _conditions(options, setting)
    try:
        if options.profile:
            print(profile(options.profile, options.seconds))
            return 0
        rows = _measure(measures, setting, options.rounds)
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps({"conditions": conditions, "rows": report.data(rows)}, indent=2, ensure_ascii=False))
    elif options.markdown:
        print("\n".join([report.markdown(rows), "", *(f"- {name}: {value}" for name, value in conditions.items())]))
    else:
        print("\n".join([report.text(rows), "", LEGEND, *(f"{name}: {value}" for name, value in conditions.items())]))
    return 0


def _measure(measures: list[Measure], setting: Setting, rounds: int) -> list[Row]:
    rows = {measure.name: [Row(measure.name, goal) for goal in measure.goals] for measure in measures}
    _progress("starting")
    try:
        with lab() as running:
            for turn in range(1, rounds + 1):
                for measure in measures:
                    if turn == 1 or not measure.once:
                        _progress(f"round {turn} of {rounds}: {measure.name}")
                        measure.run(running, setting, rows[measure.name])
                running.drop_logs()
    finally:
        _progress("")
    return [row for measure in measures for row in rows[measure.name]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help="how often all is measured; default: 5, quick: 2")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a window; default: 2, quick: 1")
    parser.add_argument("--quick", action="store_true", help="less exact, within 40 seconds")
    names = [measure.name for measure in MEASURES]
    parser.add_argument("--only", action="append", choices=names, help="measure only this; may be repeated")
    parser.add_argument(
        "--no-wrk", action="store_true", help="make requests with our own client where wrk is installed"
    )
    parser.add_argument("--profile", choices=LOADS, help="instead: where the gateway's time goes under this load")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for scripts, with every round")
    form.add_argument("--markdown", action="store_true", help="the table of docs/performance.md")
    options = parser.parse_args()
    options.rounds = options.rounds if options.rounds is not None else 2 if options.quick else 5
    options.seconds = options.seconds if options.seconds is not None else 1.0 if options.quick else 2.0
    if not 1 <= options.rounds <= 100 or not 0.1 <= options.seconds <= 60:
        parser.error("--rounds goes from 1 to 100, --seconds from 0.1 to 60")
    return options


def _conditions(options: argparse.Namespace, setting: Setting) -> dict[str, str]:
    """What the figures depend on."""
    shared = " (one core for all: figures are of little use)" if server_core() == load_core() else ""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "software": f"Python {platform.python_version()}, {_nginx_version()}",
        "rounds": f"{options.rounds} × {options.seconds:g} s, requests by {'wrk' if setting.wrk else 'our own client'}",
        "cores": f"server on {server_core()}, load and mock on {load_core()}{shared}",
        "idle streams": f"{setting.idle_streams:,}",
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _nginx_version() -> str:
    path = nginx()
    if path is None:
        return "nginx is not installed"
    return subprocess.run([path, "-v"], capture_output=True, text=True, timeout=10).stderr.strip().rpartition(" ")[2]


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def _terminated(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: cleaning up is under way
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
