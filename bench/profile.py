"""Where the gateway's time goes: its event loop under cProfile, with the load of one measure."""

from __future__ import annotations

import pstats
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.measures import CONNECTIONS
from bench.servers import gateway_server, mock_server

LOADS = ("cpu", "chunk")
SHOWN = 40
"""How many functions are listed."""

_STARTING = ("marshal.loads", "builtins.exec", "builtins.__build_class__", "_imp.")
"""What only imports call so often."""

_PLACES = (
    "/site-packages/",
    f"/lib/python{sys.version_info[0]}.{sys.version_info[1]}/",
    str(Path(__file__).parent.parent) + "/",
)


def profile(name: str, seconds: float) -> str:
    """A Markdown table of functions, per request or per chunk, those with most time of their own first.

    cProfile slows Python's calls down and C's not: the order tells more than the figures.
    """
    with TemporaryDirectory(prefix="piapi-gateway-bench-") as folder:
        output = Path(folder, "profile")
        with mock_server(Path(folder)) as mock, gateway_server(Path(folder), mock.port, profile=output) as gateway:
            if name == "cpu":
                went = load.requests(gateway.port, CONNECTIONS, seconds, gateway.cpu_ns, wrk=False)
            else:
                went = load.paced_streams(gateway.port, 150, 30, seconds, gateway.cpu_ns)
            gateway.stop()
        return _table(pstats.Stats(str(output)), went, "request" if name == "cpu" else "chunk")


def _table(stats: pstats.Stats, went: load.Load, unit: str) -> str:
    # What ramps up and runs out besides the window is in the profile too; the start mostly is not.
    rows = []
    for (file, line, name), (_, calls, own, total, _) in stats.stats.items():  # type: ignore[attr-defined]
        if calls >= went.count / 100 and not any(part in name for part in _STARTING):
            rows.append((own, calls, total, _place(file, line, name)))
    rows.sort(reverse=True)
    lines = [f"| function | calls a {unit} | own µs | with what it calls, µs |", "|---|---|---|---|"]
    for own, calls, total, place in rows[:SHOWN]:
        each = 1e6 / went.count
        lines.append(f"| `{place}` | {calls / went.count:.2f} | {own * each:.1f} | {total * each:.1f} |")
    return "\n".join(lines)


def _place(file: str, line: int, name: str) -> str:
    """A short name: built-in functions have no file."""
    if file == "~":
        return name
    for place in _PLACES:
        if place in file:
            file = file.rpartition(place)[2]
            break
    return f"{file}:{line} {name}"
