"""Fuzz: ``python -m tests.fuzz streams --cases 100000 --seed 0``; ``--only SEED`` plays one case and shows it."""

from __future__ import annotations

import argparse
import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Iterable

from tests.fuzz.request_grammar import request_case
from tests.fuzz.requests import check_request
from tests.fuzz.rigs import running_rig
from tests.fuzz.sockets import check_socket, is_quick, overrides, scripted_upstream
from tests.fuzz.streams import check_stream, play_stream, stream_case


class Faults:
    """The faults found so far, by kind; the first of each kind are shown."""

    def __init__(self, what: str, shown: int) -> None:
        self._what = what
        self._shown = shown
        self._kinds: Counter[str] = Counter()

    def take(self, seed: int, fault: Exception) -> None:
        kind = f"{type(fault).__name__}: {str(fault).split(' | ')[0]}"
        self._kinds[kind] += 1
        if self._kinds[kind] <= self._shown:
            print(f"{fault!s:.1500}\n    python -m tests.fuzz {self._what} --only {seed}", flush=True)

    def tell(self, cases: int, seconds: float) -> int:
        for kind, count in self._kinds.most_common():
            print(f"{count:6} {kind}")
        print(f"{self._what}: {cases} cases in {seconds:.0f} s, {sum(self._kinds.values())} faults", flush=True)
        return 1 if self._kinds else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", choices=("streams", "requests", "sockets"))
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000 * 1_000_000)
    parser.add_argument("--only", type=int, help="play this case, and show it")
    parser.add_argument("--show", type=int, default=10, help="how many faults of a kind to show")
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.cases) if given.only is None else range(given.only, given.only + 1)
    faults = Faults(given.kind, given.show)
    began = time.monotonic()
    if given.only is None:
        print(f"{given.kind}: {given.cases} cases from seed {given.seed}", flush=True)
    else:
        (show_request if given.kind == "requests" else show_stream)(given.only)
    if given.kind == "streams":
        run_streams(seeds, faults)
    else:
        asyncio.run((run_requests if given.kind == "requests" else run_sockets)(seeds, faults))
    return faults.tell(len(seeds), time.monotonic() - began)


def run_streams(seeds: Iterable[int], faults: Faults) -> None:
    for seed in seeds:
        try:
            check_stream(seed)
        except Exception as fault:  # noqa: BLE001  whatever is raised is a finding
            faults.take(seed, fault)


async def run_requests(seeds: Iterable[int], faults: Faults) -> None:
    async with running_rig() as rig:
        for seed in seeds:
            try:
                await check_request(rig, seed)
            except Exception as fault:  # noqa: BLE001
                faults.take(seed, fault)


async def run_sockets(seeds: Iterable[int], faults: Faults) -> None:
    async with scripted_upstream() as upstream, running_rig(overrides(upstream)) as rig:
        for seed in filter(is_quick, seeds):
            try:
                await check_socket(rig, upstream, seed)
            except Exception as fault:  # noqa: BLE001
                faults.take(seed, fault)


def show_stream(seed: int) -> None:
    case = stream_case(seed)
    print(f"meaning: {case.meaning}\nrequest: {case.fields}\nhead: {case.head}\nend: {case.stream.end}")
    print(f"pieces: {len(case.pieces)}, doubtful: {case.stream.doubtful}")
    print(case.stream.data.decode(errors="backslashreplace"))
    try:
        played, answer = play_stream(case)
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return
    print(f"outcome: {played.outcome}\nanswer: {answer!r}")
    print("emitted:", played.emitted.decode(errors="backslashreplace"))


def show_request(seed: int) -> None:
    case = request_case(seed)
    print(f"document: {case.document}\nwrong: {case.wrong}\nunreadable: {case.unreadable}\nheaders: {case.headers}")
    print(f"body: {case.body[:2000]!r}")


raise SystemExit(main())
