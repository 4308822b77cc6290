"""``doctor``: before the first start, beside a gateway, and where something is wrong; it leaves all as it was."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.cli import doctor
from gateway.cli.looks import listeners
from gateway.cli.looks.finding import Finding, Seen
from gateway.cli.looks.upstreams import DatedTransport
from gateway.cli.main import main
from gateway.sandbox import Sandbox
from gateway.shared_state.valkey import look
from tests.process.running import settings, write

from .in_process import NOWHERE, command, done, obeyed, serving

Rows = list[dict[str, str]]


async def examined(code: int, *arguments: str) -> Rows:
    """The rows of ``doctor --json``, which has to end with this code and say nothing else."""
    finished = await command("doctor", "--json", *arguments)
    assert (finished.code, finished.err) == (code, ""), finished.out
    rows: Rows = json.loads(finished.out)
    assert all(row.keys() == {"name", "state", "found", "advice"} for row in rows)
    assert all(row["state"] in ("ok", "warning", "wrong") for row in rows)
    assert (code == 1) == any(row["state"] == "wrong" for row in rows)
    return rows


def named(rows: Rows, name: str) -> Rows:
    found = [row for row in rows if row["name"] == name]
    assert found, (name, rows)
    return found


def not_ok(rows: Rows) -> set[str]:
    """What is not well; that models end is the calendar's doing, and the sandbox's answers have no date."""
    return {row["name"] for row in rows if row["state"] != "ok"} - {"models", "clock"}


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(autouse=True)
def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes too long has the command end at once; here that would be the end of the tests."""
    monkeypatch.setattr(doctor, "_leave", lambda code: None)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nothing listens, and nothing can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


async def test_before_the_first_start_nothing_is_made_or_bought(folder: Path, sandbox: Sandbox) -> None:
    write(folder, settings(sandbox, folder, admin=NOWHERE | {"listen": "127.0.0.1:0"}))
    before = everything(folder)
    rows = await examined(0)
    assert everything(folder) == before
    assert before.keys() == {str(folder / "config.yaml")}
    assert sandbox.bill == []
    assert not_ok(rows) == set()
    assert "the first start makes it" in named(rows, "store")[0]["found"]
    assert [row["state"] for row in named(rows, "upstream piapi")] == ["ok"] * 4
    assert "plan Creator, $12.35 left" in named(rows, "upstream piapi")[0]["found"]


async def test_offline_asks_no_upstream(folder: Path, sandbox: Sandbox) -> None:
    write(folder, settings(sandbox, folder))
    rows = await examined(0, "--offline")
    assert named(rows, "upstreams")[0]["found"] == "not asked (--offline)"
    assert [*sandbox.requests, *sandbox.listings] == []


async def test_beside_the_gateway_and_after_it(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder)
    async with serving(folder, document) as gateway:
        there = {
            "listen": gateway.url.removeprefix("http://"),
            "admin": {"listen": gateway.admin.removeprefix("http://")},
        }
        write(folder, {**document, **there})
        rows = await examined(0)
        assert "answers at" in named(rows, "admin listener")[0]["found"]
        assert "is ready" in named(rows, "main listener")[0]["found"]
        assert named(rows, "its configuration")[0]["state"] == "ok"
        write(folder, {**document, **there, "store": f"sqlite:///{folder / 'other.db'}"})
        assert not_ok(await examined(0)) == {"its configuration"}
        write(folder, {**document, **there})
        gateway.gateway.drain()
        rows = await examined(1)
        assert "is not ready: draining" in named(rows, "main listener")[0]["found"]
    # Its ports are free now, and may be another test's.
    write(folder, {**document, "listen": "127.0.0.1:0", "admin": NOWHERE | {"listen": "127.0.0.1:0"}})
    before = everything(folder)
    rows = await examined(0)
    assert everything(folder) == before
    assert named(rows, "books")[0]["found"].startswith("requests open: 0, ")


async def test_another_admin_key_and_another_program(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder) | {"admin": {"listen": "127.0.0.1:0", "key": "the-admin-key-of-today"}}
    async with serving(folder, document) as gateway:
        other = {"listen": gateway.admin.removeprefix("http://"), "key": "the-admin-key-of-last-year"}
        write(folder, {**document, "listen": gateway.url.removeprefix("http://"), "admin": other})
        rows = await examined(1)
        assert "a gateway answers at" in named(rows, "main listener")[0]["found"]
        assert named(rows, "main listener")[0]["state"] == "warning"
        assert "has another admin key" in named(rows, "admin listener")[0]["found"]
        assert "last-year" not in json.dumps(rows)
    sandbox.set_default("html_200")
    write(folder, {**document, "listen": sandbox.url.removeprefix("http://"), "admin": NOWHERE})
    rows = await examined(1)
    assert "another program has" in named(rows, "main listener")[0]["found"]


async def test_upstreams_that_refuse_or_are_gone(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder)
    document["upstreams"]["piapi"]["keys"] = [{"name": "old", "value": "sandbox-invalid-key"}]
    await sandbox.refuse("backup")
    write(folder, document)
    rows = await examined(1)
    assert [row["state"] for row in named(rows, "upstream piapi")] == ["wrong", "wrong"]
    assert "the key is refused (401)" in named(rows, "upstream piapi")[0]["found"]
    [gone] = named(rows, "upstream backup")
    assert (gone["state"], "unreachable" in gone["found"]) == ("wrong", True)
    assert "sandbox-invalid-key" not in json.dumps(rows)


async def test_the_clock_is_held_against_the_dates_of_answers() -> None:
    dates = {"right": formatdate(time.time()), "slow": formatdate(time.time() + 600), "none": "", "odd": "yesterday"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"date": dates[request.url.host]})

    dated = DatedTransport(httpx2.MockTransport(answer))
    async with httpx2.AsyncClient(transport=dated) as client:
        for host in dates:
            await client.get(f"http://{host}/")
    assert dated.ahead.keys() == {"right", "slow"}
    assert abs(dated.ahead["right"]) < 60
    assert -660 < dated.ahead["slow"] < -540


async def test_a_configuration_with_errors_does_not_keep_the_rest_back(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder) | {"drian": "30s", "limits": {"in_flight": "lots"}}
    write(folder, document)
    rows = await examined(1)
    assert [row["found"].split(": ")[1] for row in named(rows, "configuration")] == ["drian", "limits.in_flight"]
    assert {row["name"] for row in rows if row["found"].startswith("not looked at")} == {"open files", "clock"}
    assert named(rows, "store")[0]["state"] == "ok"
    assert [row["state"] for row in named(rows, "upstream piapi")] == ["ok"] * 4


async def test_a_file_that_is_no_configuration_at_all(folder: Path) -> None:
    write(folder, "listen: [127.0.0.1\n")
    rows = await examined(1, "--offline")
    assert [row["name"] for row in rows][:2] == ["python", "configuration"]
    assert rows[-1]["name"].startswith("extras, open files, models, file modes, store's folder, store, ")


async def test_without_an_upstreams_variable_the_rest_is_looked_at(folder: Path) -> None:
    (folder / "gateway.db").write_bytes(b"no database" * 1000)
    write(folder, "admin: {listen: '127.0.0.1:0'}\nupstreams: {piapi: {keys: ['${NOT_SET_ANYWHERE}']}}\n")
    rows = await examined(1)
    assert "NOT_SET_ANYWHERE" in named(rows, "configuration")[0]["found"]
    assert "damaged or not a database" in named(rows, "store")[0]["found"]
    assert named(rows, "images folder")[0]["state"] == "ok"
    assert rows[-1]["name"] == "models, upstreams"


async def test_a_setting_that_is_wrong_is_not_taken_for_its_default(folder: Path) -> None:
    (folder / "gateway.db").write_bytes(b"no database" * 1000)
    write(folder, f"store: nowhere\nlisten: here\nadmin: {{listen: '{NOWHERE['listen']}'}}\n")
    rows = await examined(1, "--offline")
    assert "no database" not in json.dumps(rows)
    assert {"store", "main listener"} <= set(rows[-1]["name"].split(", "))
    assert named(rows, "admin listener")[0]["found"].startswith("127.0.0.1:1 ")


def test_a_file_that_is_not_there(folder: Path) -> None:
    finished = obeyed("doctor", "--offline", "--config", "absent.yaml")
    assert finished.code == 1
    assert "absent.yaml" in finished.out
    assert "python" in finished.out
    assert finished.err == ""


async def test_for_eyes_what_to_do_stands_below_what_is_not_well(folder: Path, sandbox: Sandbox) -> None:
    write(folder, settings(sandbox, folder, images={"dir": str(folder / "config.yaml")}))
    finished = await command("doctor", "--offline")
    assert (finished.code, finished.err) == (1, "")
    lines = finished.out.splitlines()
    assert lines[0].split() == ["state", "looked", "at", "found"]
    [number] = [number for number, line in enumerate(lines) if line.startswith("wrong")]
    assert "images folder" in lines[number]
    assert lines[number + 1].startswith("         -> give it to the gateway's user")
    assert lines[-1].startswith("1 wrong, ")


async def test_passwords_in_urls_stay_out_of_sight(folder: Path, sandbox: Sandbox, closed_port: str) -> None:
    secrets = ("pg-password", "redis-password", "proxy-password", "otlp-header-value", "the-admin-key-of-today")
    write(
        folder,
        settings(sandbox, folder)
        | {
            "store": f"postgresql://gateway:pg-password@{closed_port}/books",
            "shared_state": f"redis://gateway:redis-password@{closed_port}/0",
            "proxy": f"http://gateway:proxy-password@{closed_port}",
            "admin": NOWHERE | {"key": "the-admin-key-of-today"},
            "telemetry": {
                "otlp": f"http://{closed_port}/otlp-path",
                "headers": {"authorization": "Bearer otlp-header-value"},
            },
        },
    )
    rows, text = await examined(1), await command("doctor")
    shown = json.dumps(rows) + text.out + text.err
    assert [secret for secret in secrets if secret in shown] == []
    assert "Traceback" not in shown
    assert {"store", "shared state", "upstream piapi", "telemetry"} <= not_ok(rows)
    assert named(rows, "proxies")[0]["found"] == f"piapi through {closed_port}, backup through {closed_port}"


async def test_a_collector_that_listens(folder: Path, sandbox: Sandbox, closed_port: str) -> None:
    pytest.importorskip("opentelemetry.sdk")
    place = sandbox.url.removeprefix("http://")
    write(folder, settings(sandbox, folder, telemetry={"otlp": f"http://{place}"}))
    assert named(await examined(0), "telemetry")[0]["state"] == "ok"
    write(folder, settings(sandbox, folder, telemetry={"otlp": f"http://{closed_port}"}))
    assert named(await examined(0), "telemetry")[0]["state"] == "warning"
    assert "not asked" in named(await examined(0, "--offline"), "telemetry")[0]["found"]


async def test_a_key_whose_team_is_gone(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder, admin=NOWHERE)
    write(folder, document)
    finished = await command("keys", "create", "carol", "--team", "growth")
    assert finished.code == 0, finished
    document |= {"teams": {"sales": {}}, "keys": []}
    write(folder, document)
    [row] = named(await examined(0, "--offline"), "virtual keys")
    assert (row["state"], "'carol' is of the team 'growth'" in row["found"]) == ("warning", True)


async def test_keys_without_their_pepper_are_told_before_a_start_is_refused(folder: Path, sandbox: Sandbox) -> None:
    write(folder, settings(sandbox, folder))
    assert (await command("keys", "create", "carol")).code == 0
    pepper = folder / "gateway.db.pepper"
    pepper.rename(folder / "elsewhere")
    before = everything(folder)
    [row] = named(await examined(1, "--offline"), "virtual keys")
    assert "gateway.db.pepper is missing" in row["found"]
    assert everything(folder) == before
    pepper.write_bytes(b"short")
    pepper.chmod(0o600)
    assert named(await examined(1, "--offline"), "virtual keys")[0]["state"] == "wrong"


@pytest.mark.parametrize("ending", ["", ".lock", ".mark", ".spill", "-wal", "-shm"])
async def test_what_stands_in_the_place_of_a_stores_file_is_told(folder: Path, sandbox: Sandbox, ending: str) -> None:
    write(folder, settings(sandbox, folder))
    assert (await command("keys", "create", "carol")).code == 0
    file = folder / f"gateway.db{ending}"
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    [row] = named(await examined(1, "--offline"), "store's files")
    assert row["found"] == f"{file} is not a file"


async def test_a_store_that_leads_nowhere_is_told(folder: Path, sandbox: Sandbox) -> None:
    (folder / "loop.db").symlink_to(folder / "loop.db")
    write(folder, settings(sandbox, folder, store=f"sqlite:///{folder}/loop.db"))
    rows = await examined(1, "--offline")
    assert named(rows, "store")[0]["state"] == "wrong"
    write(folder, settings(sandbox, folder, store=f"sqlite:///{folder}/{'x' * 300}"))
    rows = await examined(1, "--offline")
    assert "too long" in named(rows, "store's files")[0]["found"]


async def test_of_a_pipe_with_mistakes_nothing_is_taken_for_the_defaults(folder: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"drian: 1s\nlisten: 127.0.0.1:1\n")
    os.close(writing)
    rows = await examined(1, "--offline", "--config", f"/dev/fd/{reading}")
    os.close(reading)
    assert "drian" in repr(named(rows, "configuration"))
    assert not [row for row in rows if "8400" in row["found"] or "gateway.db" in row["found"]]


async def test_a_name_that_is_no_utf_8_can_be_told_in_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = folder / "fold\udcff"
    odd.mkdir()
    monkeypatch.chdir(odd)
    monkeypatch.setenv("PIAPI_API_KEY", "piapi-key-one")
    rows = await examined(0, "--offline")
    assert any("fold\udcff" in row["found"] for row in rows)


async def test_a_server_that_drips_or_is_silent_is_no_gateway(
    folder: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(look, "ANSWER_WITHIN", 0.2)

    dripping: list[asyncio.Task[Any]] = []

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        dripping.append(task)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:  # as soon as its client has given it up
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        shared = {"shared_state": f"redis://{place}/0"}
        write(folder, settings(sandbox, folder, admin=NOWHERE | {"listen": place}) | shared)
        rows = await examined(1, "--offline")
        async with asyncio.timeout(20):
            await asyncio.gather(*dripping)
    assert named(rows, "admin listener")[0]["found"] == f"no answer of a gateway at {place}"
    assert named(rows, "shared state")[0]["state"] == "wrong"


async def test_one_look_that_fails_or_hangs_does_not_end_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOOK_WITHIN", 0.05)
    told: list[int] = []

    async def fails(_: Seen) -> Sequence[Finding]:
        raise RuntimeError("odd")

    async def hangs(_: Seen) -> Sequence[Finding]:
        await asyncio.sleep(3600)
        return []

    async def works(_: Seen) -> Sequence[Finding]:
        return [Finding("three", "ok", "found")]

    looks = [doctor.Look(name, look) for name, look in zip("abc", (fails, hangs, works), strict=True)]
    seen: Any = Seen(None, None, (), frozenset(), None, 0)
    rows = await doctor.look_at_all(seen, looks, lambda number, _: told.append(number))
    assert [(row.name, row.state) for row in rows] == [("a", "wrong"), ("b", "wrong"), ("three", "ok")]
    assert "RuntimeError: odd" in rows[0].found
    assert "0.05 s" in rows[1].found
    assert told == [1, 2, 3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_only_and_gone_at_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = obeyed("doctor", "--offline")
    assert "\r" not in finished.out + finished.err
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert main(("doctor", "--offline")) == finished.code
    assert "\rlooked at 1 of " in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


async def test_init_and_doctor_belong_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await done("init")
    monkeypatch.setenv("PIAPI_API_KEY", "piapi-key-one")
    finished = await command("doctor", "--offline")
    assert "upstreams" in finished.out
    assert "config.yaml is valid" in finished.out
