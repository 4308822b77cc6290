"""Tracing in a process of its own: what is left is sent at SIGTERM, within seconds; without it nothing is imported."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.sandbox import Sandbox
from tests.collector import Collector

from .running import PATIENCE, Gateway, ask, chat, command, settings, write

ROOT = {"PYTHONPATH": str(Path(__file__).parents[2])}
LATE = {**ROOT, "OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
"""Nothing is sent before the end."""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as running:
        yield running


async def test_what_is_left_is_sent_at_the_end(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, collector: Collector
) -> None:
    write(tmp_path, settings(sandbox, tmp_path, telemetry={"otlp": collector.url}))
    async with Gateway.serve(tmp_path, LATE) as gateway:
        answers = [await ask(client, gateway, chat(f"{n}")) for n in range(3)]
        assert {answer.status for answer in answers} == {200}
        assert collector.requests == []
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert gateway.events("telemetry_not_sent") == []
    assert len(collector.all_spans()) == 6
    [(_, count, _, _)] = collector.metrics()["gen_ai.server.request.duration"]
    assert count == 3


async def test_a_stream_that_the_drain_cuts_off_is_told_as_well(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, collector: Collector
) -> None:
    write(tmp_path, settings(sandbox, tmp_path, telemetry={"otlp": collector.url}, drain="100ms"))
    sandbox.set_default("stall_mid;after_events=3;seconds=60")
    begun = asyncio.Event()
    async with Gateway.serve(tmp_path, LATE) as gateway, asyncio.TaskGroup() as group:
        group.create_task(ask(client, gateway, chat("x", stream=True), begun=begun.set))
        await begun.wait()
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    request, attempt = await collector.spans(2)
    assert (request.status, request.attributes["error.type"]) == ("error", "server_shutting_down")
    assert attempt.attributes["error.type"] == "drain_cut"


async def test_a_collector_that_hangs_holds_the_end_up_for_seconds_only(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, collector: Collector
) -> None:
    collector.silent = True
    write(tmp_path, settings(sandbox, tmp_path, telemetry={"otlp": collector.url}))
    async with Gateway.serve(tmp_path, LATE) as gateway:
        assert (await ask(client, gateway, chat("x"))).status == 200
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert time.monotonic() - began < PATIENCE / 2, "the library itself would wait for thirty"
        [line] = gateway.events("telemetry_not_sent")
        assert line["spans"] == 2


async def test_nothing_of_it_is_imported_where_nothing_is_sent(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path, telemetry={"otlp": "", "headers": {}}))
    look = (
        "import asyncio, sys\n"
        "from gateway.app.gateway import Gateway\n"
        "from gateway.app.log_output import build_log\n"
        "from gateway.config import load\n"
        "from pathlib import Path\n"
        "async def run():\n"
        "    config = load(Path('config.yaml'), {})\n"
        "    gateway = await Gateway.start(config, build_log(config), lambda: config, ask_for_models=False)\n"
        "    print(sorted(name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'google')))\n"
        "    await gateway.close(0)\n"
        "asyncio.run(run())\n"
    )
    found = await command(tmp_path, "-c", look, env=ROOT, program_line=(sys.executable,))
    assert (found.code, found.out) == (0, "[]\n"), found.err


class TestWithoutTheExtra:
    """A folder before the installed packages hides the library, as if it were not there."""

    @pytest.fixture
    def without(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "hidden" / "opentelemetry").mkdir(parents=True)
        (tmp_path / "hidden" / "opentelemetry" / "__init__.py").touch()
        return {"PYTHONPATH": f"{tmp_path / 'hidden'}:{ROOT['PYTHONPATH']}"}

    @pytest.mark.parametrize("name", ["check", "serve"])
    async def test_what_was_asked_for_is_refused(
        self, tmp_path: Path, sandbox: Sandbox, without: dict[str, str], name: str
    ) -> None:
        write(tmp_path, settings(sandbox, tmp_path, telemetry={"otlp": "http://127.0.0.1:4318"}))
        found = await command(tmp_path, name, env=without)
        assert found.code == 2
        assert "telemetry.otlp: what sends it is not installed; run: pip install 'piapi-gateway[otel]'" in found.err

    async def test_other_commands_go_on(self, tmp_path: Path, sandbox: Sandbox, without: dict[str, str]) -> None:
        write(tmp_path, settings(sandbox, tmp_path, telemetry={"otlp": "http://127.0.0.1:4318"}))
        assert (await command(tmp_path, "models", env=without)).code == 0

    async def test_what_only_the_environment_says_is_warned_of(
        self, tmp_path: Path, sandbox: Sandbox, without: dict[str, str]
    ) -> None:
        write(tmp_path, settings(sandbox, tmp_path))
        found = await command(
            tmp_path, "check", env={**without, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
        )
        assert found.code == 0
        assert "nothing is sent" in found.err


async def test_the_line_that_switches_it_off_is_a_good_one(tmp_path: Path) -> None:
    write(tmp_path, 'telemetry: {otlp: "", headers: {}}\n')
    assert (await command(tmp_path, "check", env=ROOT)).code == 0
