"""What the chart's pods run, run here on a real PostgreSQL and a real Valkey: the Job first, then a gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.e2e.in_front import free_port

from .chart import NAME, VALUES, Document, needs_helm, only, rendered

pytestmark = needs_helm

ROOT = Path(__file__).parents[2]
READY_WITHIN = 60.0


@pytest.fixture
def environment(postgres_url: str, valkey_url: str) -> dict[str, str]:
    """What the Secret of the chart's page holds."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PIAPI_API_KEY": "sk-piapi-of-nobody-0123456789",
        "GATEWAY_ADMIN_KEY": "admin-key-0123456789",
        "GATEWAY_KEY_PEPPER": "ab" * 32,
        "GATEWAY_STORE": postgres_url,
        "GATEWAY_SHARED_STATE": valkey_url,
    }


def documents() -> tuple[Document, ...]:
    [path] = [path for path in VALUES if path.stem == "defaults"]
    return rendered(path)


def command(document: Document, config: Path) -> list[str]:
    """What its container runs, with the file at another place."""
    [container] = document["spec"]["template"]["spec"]["containers"]
    *words, mounted = container["args"]
    assert mounted == "/etc/piapi-gateway/config.yaml"
    return [sys.executable, "-m", "gateway", *words, str(config)]


def written(folder: Path) -> tuple[Path, int]:
    """The chart's configuration with a folder and ports of this machine; the port of the clients."""
    config = yaml.safe_load(only(documents(), "ConfigMap", NAME)["data"]["config.yaml"])
    port = free_port()
    assert config["listen"] == "0.0.0.0:8400"
    config["listen"] = f"127.0.0.1:{port}"
    config["admin"]["listen"] = f"127.0.0.1:{free_port()}"
    config["images"]["dir"] = str(folder / "images")
    config["upstreams"]["piapi"]["endpoints"] = [{"url": "http://127.0.0.1:9"}]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path, port


@contextmanager
def serving(words: list[str], environment: dict[str, str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(words, env=environment, cwd=ROOT, stdout=output, stderr=output)
    try:
        until = time.monotonic() + READY_WITHIN
        while True:
            try:
                assert urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).status == 200
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.timeout(150)
def test_the_job_makes_the_schema_and_a_gateway_serves_on_it(environment: dict[str, str], tmp_path: Path) -> None:
    config, port = written(tmp_path)
    migrated = subprocess.run(
        command(only(documents(), "Job"), config), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert migrated.returncode == 0, migrated.stderr
    assert "has the schema of this version" in migrated.stdout
    with serving(command(only(documents(), "Deployment"), config), environment, port, tmp_path / "log") as process:
        status = subprocess.run(
            [sys.executable, "-m", "gateway", "status", "--json", "--config", str(config)],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert status.returncode == 0, status.stderr
        [gateway] = json.loads(status.stdout)["gateways"]
        assert gateway["sees"] == {"store": True, "shared_state": True}
        process.terminate()
        assert process.wait(60) == 0
    for secret in ("GATEWAY_ADMIN_KEY", "PIAPI_API_KEY", "GATEWAY_KEY_PEPPER"):
        assert environment[secret] not in (tmp_path / "log").read_text()
