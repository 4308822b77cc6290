"""What figures depend on: the machine, the Python and how it was built, the versions of everything, the commit."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from pathlib import Path

from bench.peers import PEERS
from bench.processes import load_core, server_core
from bench.servers import gateway_python

ROOT = Path(__file__).parents[1]


def conditions() -> dict[str, str]:
    """Name → text, for people."""
    shared = " (one core for all: figures are of little use)" if server_core() == load_core() else ""
    versions = {peer.name: peer.version() for peer in PEERS if not peer.missing()}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "Python": _said(gateway_python(), "-m", "bench.python_build"),
        "gateway": _said(gateway_python(), "-m", "gateway", "--version"),
        "peers": ", ".join(f"{name} {version}" for name, version in versions.items()) or "none",
        "cores": f"server on {server_core()}, load and mock on {load_core()}{shared}",
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }


def commit() -> str:
    """The commit that is measured, and whether files differ from it."""
    name = _git("rev-parse", "--short=12", "HEAD")
    if not name:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "gateway", "bench")
    return f"{name} with changes" if changed else name


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    return _said("git", *arguments) if shutil.which("git") else ""


def _said(*command: str) -> str:
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    return ran.stdout.strip() if ran.returncode == 0 else ""
