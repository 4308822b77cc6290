"""Several workers on one port, on a real PostgreSQL and Valkey: they serve, count, reload, drain and die as one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.sandbox import Sandbox
from tests.collector import Collector
from tests.engines import PostgresServer, ValkeyServer

from .running import PATIENCE, Answer, Gateway, ask, chat, command, new_client, settings, write

ADMIN_KEY = "admin-0123456789abcdef-secret"
AS_ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


class Fleet:
    """A folder with a configuration of ``workers``, and what its books and metrics say."""

    def __init__(self, sandbox: Sandbox, folder: Path, store: str, shared_state: str) -> None:
        self.folder = folder
        self.store = store
        self.settings = settings(
            sandbox,
            folder,
            workers=2,
            store=store,
            shared_state=shared_state,
            admin={"listen": "127.0.0.1:0", "key": ADMIN_KEY},
            images={"dir": str(folder / "images")},
            drain="20s",
        )
        self.write()

    def write(self, **over: Any) -> None:
        write(self.folder, {**self.settings, **over})

    async def rows(self, query: str) -> list[Any]:
        connection = await asyncpg.connect(self.store)
        try:
            return [row[0] if len(row) == 1 else tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    @asynccontextmanager
    async def serve(self, env: dict[str, str] | None = None) -> AsyncIterator[Gateway]:
        async with Gateway.serve(self.folder, env) as gateway:
            await gateway.event("workers_ready", workers=2)
            yield gateway


@pytest.fixture
def fleet(sandbox: Sandbox, tmp_path: Path, postgres_url: str, valkey_url: str) -> Fleet:
    return Fleet(sandbox, tmp_path, postgres_url, valkey_url)


async def admin(gateway: Gateway, path: str, method: str = "GET", **request: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False, headers=AS_ADMIN) as client:
        return await client.request(method, gateway.admin + path, **request)


async def scrape(gateway: Gateway) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Sample's name → its labels and values."""
    text = (await admin(gateway, "/metrics")).text
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(samples: list[tuple[dict[str, str], float]], **labels: str) -> float:
    return sum(value for has, value in samples if labels.items() <= has.items())


def pids(gateway: Gateway) -> dict[int, int]:
    """Worker → its process, by the log so far."""
    return {line["worker"]: line["pid"] for line in gateway.events("worker_ready")}


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def until(wanted: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not wanted():
            await asyncio.sleep(0.05)


async def test_what_both_count_is_told_as_one_to_the_last_request(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    async with fleet.serve() as gateway:
        answers = [await ask(client, gateway, chat(f"{n}")) for n in range(40)]
        answers += await asyncio.gather(*(ask(client, gateway, chat(f"{n}", stream=True)) for n in range(20)))
        assert {answer.status for answer in answers} == {200}
        await until(lambda: len(gateway.events("request")) == 60)
        served = Counter(line["gateway"] for line in gateway.events("request"))
        assert len(served) == 2  # the system deals connections out; of 60 one worker never gets all
        seen = await scrape(gateway)
        assert total(seen["gateway_requests_total"], route="/v1/chat/completions", status="200") == 60
        assert total(seen["gateway_request_duration_seconds_count"], route="/v1/chat/completions") == 60
        assert total(seen["gateway_request_duration_seconds_bucket"], route="/v1/chat/completions", le="+Inf") == 60
        assert total(seen["gateway_upstream_attempts_total"], outcome="ok") == 60
        assert total(seen["gateway_requests_in_flight"]) == 0
        assert [value for _, value in seen["gateway_build_info"]] == [1]
        assert [value for _, value in seen["gateway_store_up"]] == [1]
        assert [value for _, value in seen["gateway_shared_state_up"]] == [1]
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    [charged] = await fleet.rows("SELECT sum(charged)::bigint FROM settlements")
    assert round(total(seen["gateway_cost_usd_total"]) * 10**9) == charged > 0
    assert await fleet.rows("SELECT count(*) FROM gateways") == [0]  # both left in good order


async def test_one_that_is_killed_is_restarted_and_what_it_counted_is_kept(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    async with fleet.serve() as gateway:
        for n in range(20):
            assert (await ask(client, gateway, chat(f"{n}"))).status == 200
        before = await scrape(gateway)
        assert total(before["gateway_requests_total"], status="200") == 20
        [victim, other] = [pids(gateway)[number] for number in (1, 2)]
        os.kill(victim, signal.SIGKILL)
        died = await gateway.event("worker_ended", worker=1)
        assert (died["pid"], died["exit_code"], died["reason"]) == (victim, -9, "it was killed by SIGKILL")
        assert died["restart_in"] > 0
        kept = await scrape(gateway)
        assert total(kept["gateway_requests_total"], status="200") == 20
        assert total(kept["gateway_cost_usd_total"]) == total(before["gateway_cost_usd_total"])
        assert total(kept["gateway_request_duration_seconds_sum"]) == pytest.approx(
            total(before["gateway_request_duration_seconds_sum"])
        )
        await until(lambda: len(gateway.events("worker_ready")) == 3)
        assert alive(other)
        assert pids(gateway)[1] != victim
        for n in range(20):
            assert (await ask(client, gateway, chat(f"{n}"))).status == 200
        after = await scrape(gateway)
        assert total(after["gateway_requests_total"], status="200") == 40


async def test_killing_one_under_load_costs_only_what_it_had_in_hand(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_default("stall_mid;after_events=3;seconds=0.2")
    answers: list[Answer] = []
    lost = 0

    async def keep_asking(enough: asyncio.Event) -> None:
        nonlocal lost
        while not enough.is_set():
            try:
                answers.append(await ask(client, gateway, chat("on and on", stream=True)))
            except httpx2.HTTPError:
                lost += 1

    async with fleet.serve() as gateway, asyncio.TaskGroup() as group:
        enough = asyncio.Event()
        for _ in range(16):
            group.create_task(keep_asking(enough))
        await until(lambda: len(answers) > 40)
        os.kill(pids(gateway)[2], signal.SIGKILL)
        await gateway.event("worker_ended", worker=2)
        until_then = len(answers)
        await until(lambda: len(answers) > until_then + 40)
        await until(lambda: len(gateway.events("worker_ready")) == 3)
        enough.set()
        await until(lambda: not group._tasks)
        assert {answer.status for answer in answers} == {200}
        assert all(answer.events[-1] == "[DONE]" for answer in answers)
        assert lost <= 16 + 16  # what it had in hand, and what the system had just dealt to it
        seen = await scrape(gateway)
        counted = total(seen["gateway_requests_total"], route="/v1/chat/completions")
        assert len(answers) <= counted <= len(answers) + lost
        assert total(seen["gateway_requests_in_flight"]) == 0
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0


async def test_admin_requests_reach_a_worker_with_the_key_alone(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    async with fleet.serve() as gateway, httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as stranger:
        for path in ("/metrics", "/admin/v1/upstreams", "/admin/v1/keys"):
            refused = await stranger.get(gateway.admin + path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
            assert refused.headers["connection"] == "close"
        unknown = await admin(gateway, "/admin/v1/nothing")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
        assert unknown.headers["x-should-retry"] == "false"
        head = await admin(gateway, "/metrics", "HEAD")
        assert (head.status_code, head.content) == (200, b"")
        made = await admin(gateway, "/admin/v1/keys", "POST", json={"name": "dora"})
        assert made.status_code == 200
        async with new_client(made.json()["key"]) as dora:
            async with asyncio.timeout(5):
                while Counter([(await ask(dora, gateway, chat())).status for _ in range(8)]) != {200: 8}:
                    pass
        page = await admin(gateway, "/admin/v1/keys")
        assert "dora" in [key["name"] for key in page.json()["data"]]
        big = await admin(gateway, "/admin/v1/keys", "POST", content=b"{" + b" " * (300 * 1024))
        assert big.status_code == 413
        seen = await scrape(gateway)
        assert total(seen["gateway_admin_auth_failures_total"]) == 3


async def test_the_console_is_one_whichever_worker_makes_the_page(fleet: Fleet) -> None:
    async with fleet.serve() as gateway:
        origin = {"origin": gateway.admin, "sec-fetch-site": "same-origin"}
        async with httpx2.AsyncClient(
            base_url=gateway.admin, timeout=PATIENCE, trust_env=False, headers=origin
        ) as browser:
            assert (await browser.get("/")).status_code == 401
            assert (await browser.get("/console/static/console.css")).status_code == 200
            wrong = await browser.post("/console/sign-in", data={"key": "wrong"})
            assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
            taken = await browser.post("/console/sign-in", data={"key": ADMIN_KEY, "next": "/console/keys"})
            assert (taken.status_code, taken.headers["location"]) == (303, "/console/keys")
            pages = [await browser.get("/console/keys") for _ in range(4)]  # the workers take turns
            assert {page.status_code for page in pages} == {200}
            tokens = {re.search(r'name="form_token" value="([0-9a-f]{64})"', page.text)[1] for page in pages}  # type: ignore[index]
            assert len(tokens) == 1, "a form that one has made is taken by the other"
            fields = {"form_token": tokens.pop(), "name": "dora"}
            made = await browser.post("/console/keys", data=fields)
            assert made.status_code == 200
            for _ in range(2):
                assert "dora" in (await browser.get("/console/keys")).text
            key = re.search(r"gw-[\w-]{20,}", made.text)
            assert key is not None
            tried = {**fields, "kind": "chat", "model": "gpt-4o", "prompt": "hello", "virtual_key": key[0]}
            answer = await browser.post("/console/try", data=tried)
            assert "Sandbox" in answer.text
            foreign = await browser.post("/console/keys", data=fields, headers={"origin": "https://evil.example"})
            assert foreign.status_code == 403
            overview = await browser.get("/")
            assert overview.status_code == 200
            assert "as one gateway sees them" in overview.text


async def test_a_reload_reaches_every_worker_and_a_bad_file_none(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    house = {"house-model": {"targets": [{"upstream": "piapi", "model": "gpt-4o-mini"}]}}

    async def statuses(model: str) -> set[int]:
        return {(await ask(client, gateway, chat(model=model))).status for _ in range(16)}

    async with fleet.serve() as gateway:
        assert await statuses("house-model") == {404}
        fleet.write(models=house, drian="3s")
        refused = await admin(gateway, "/admin/v1/reload", "POST")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "config_rejected")
        gateway.signal(signal.SIGHUP)
        await until(lambda: len(gateway.events("config_rejected")) == 2)  # one worker each time: the round ends there
        assert gateway.events("config_reloaded") == []
        assert await statuses("house-model") == {404}
        fleet.write(models=house)
        gateway.signal(signal.SIGHUP)
        await until(lambda: len(gateway.events("config_reloaded")) == 2)
        assert len({line["gateway"] for line in gateway.events("config_reloaded")}) == 2
        assert await statuses("house-model") == {200}
        fleet.write()
        done = await admin(gateway, "/admin/v1/reload", "POST")
        assert (done.status_code, done.json()["status"]) == (200, "reloaded")
        await until(lambda: len(gateway.events("config_reloaded")) == 4)
        assert await statuses("house-model") == {404}


async def test_a_stop_lets_streams_of_all_workers_end(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_default("stall_mid;after_events=3;seconds=2")
    begun = 0

    def one_more() -> Any:
        first = True

        def told() -> None:
            nonlocal first, begun
            begun, first = begun + first, False

        return told

    async with fleet.serve() as gateway, asyncio.TaskGroup() as group:
        streams = [
            group.create_task(ask(client, gateway, chat(f"{n}", stream=True), begun=one_more())) for n in range(24)
        ]
        await until(lambda: begun == 24)
        gateway.signal(signal.SIGTERM)
        await gateway.event("draining", workers=2)
        await until(lambda: len([line for line in gateway.events("draining") if "in_flight" in line]) == 2)
        for _ in range(6):
            assert (await client.get(f"{gateway.url}/readyz")).status_code == 503
            assert (await client.get(f"{gateway.url}/healthz")).status_code == 200
        assert await gateway.wait() == 0
    assert all(stream.result().events[-1] == "[DONE]" for stream in streams)
    assert await fleet.rows("SELECT count(*) FROM open_intents") == [0]


async def test_a_second_signal_hurries_and_no_worker_is_left(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_default("stall_mid;after_events=3")
    async with fleet.serve() as gateway, asyncio.TaskGroup() as group:
        begun = asyncio.Event()
        stream = group.create_task(ask(client, gateway, chat(stream=True), begun=begun.set))
        await begun.wait()
        processes = list(pids(gateway).values())
        gateway.signal(signal.SIGTERM)
        await until(lambda: len([line for line in gateway.events("draining") if "in_flight" in line]) == 2)
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert not any(map(alive, processes))
    assert json.loads(stream.result().events[-1])["error"]["code"] == "server_shutting_down"


def modes(folder: Path, pattern: str) -> list[int]:
    """Of the files and folders that are there."""
    return [path.stat().st_mode & 0o777 for path in folder.glob(pattern)]


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with a short name, as those of sockets must be."""
    with TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


async def test_a_temporary_folder_whose_name_is_too_long_for_sockets_is_done_without(fleet: Fleet) -> None:
    long = fleet.folder / ("long" * 25)
    long.mkdir()
    async with fleet.serve({"TMPDIR": str(long)}) as gateway:
        assert (await admin(gateway, "/admin/v1/upstreams")).status_code == 200
        assert list(long.iterdir()) == []


async def test_no_worker_outlives_a_supervisor_that_was_killed(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient, sockets: Path
) -> None:
    sandbox.set_default("stall_mid;after_events=3")
    async with fleet.serve({"TMPDIR": str(sockets)}) as gateway, asyncio.TaskGroup() as group:
        begun = asyncio.Event()
        stream = group.create_task(ask(client, gateway, chat(stream=True), begun=begun.set))
        await begun.wait()
        processes = list(pids(gateway).values())
        assert modes(sockets, "*") == [0o700]
        assert set(modes(sockets, "*/*.sock")) == {0o600}
        gateway.signal(signal.SIGKILL)
        assert await gateway.wait() == -signal.SIGKILL
        await until(lambda: not any(map(alive, processes)))
    assert json.loads(stream.result().events[-1])["error"]["code"] == "server_shutting_down"
    assert await fleet.rows("SELECT count(*) FROM open_intents") == [0]  # they ended in good order
    assert modes(sockets, "*") == []  # the folder of their sockets is gone


async def test_where_no_worker_lives_the_admin_listener_says_so(fleet: Fleet, sandbox: Sandbox) -> None:
    async with fleet.serve() as gateway:
        for pid in pids(gateway).values():
            os.kill(pid, signal.SIGKILL)
        for number in (1, 2):
            await gateway.event("worker_ended", worker=number)
        told = await admin(gateway, "/admin/v1/upstreams")
        assert (told.status_code, told.json()["error"]["code"]) == (503, "no_worker")
        assert set(told.json()["error"]) == {"message", "type", "param", "code"}
        assert (told.headers["x-should-retry"], told.headers["retry-after"]) == ("true", "1")
        await until(lambda: len(gateway.events("worker_ready")) == 4)
        assert (await admin(gateway, "/admin/v1/upstreams")).status_code == 200


async def test_status_shows_every_worker(fleet: Fleet, sandbox: Sandbox) -> None:
    async with fleet.serve() as gateway:
        fleet.write(admin={"listen": gateway.admin.removeprefix("http://"), "key": ADMIN_KEY})
        told = await command(fleet.folder, "status", "--json")
        assert told.code == 0, told.err
        gateways = json.loads(told.out)["gateways"]
        assert {one["pid"] for one in gateways} == set(pids(gateway).values())
        assert {one["id"] for one in gateways} == {line["gateway"] for line in gateway.events("worker_ready")}
        for one in gateways:
            assert (one["main_url"], one["admin_url"], one["state"]) == (gateway.url, gateway.admin, "live")
            assert one["sees"] == {"store": True, "shared_state": True}
        text = await command(fleet.folder, "status")
        assert all(one["id"] in text.out for one in gateways)


async def test_a_port_that_another_fleet_has_is_refused(fleet: Fleet, sandbox: Sandbox) -> None:
    async with fleet.serve() as gateway:
        fleet.write(listen=gateway.url.removeprefix("http://"))
        second = await command(fleet.folder, "serve")
        assert second.code == 1
        assert "the address is already in use" in second.err
        alone = {**fleet.settings, "workers": 1, "listen": gateway.url.removeprefix("http://")}
        write(fleet.folder, alone)
        third = await command(fleet.folder, "serve")
        assert third.code == 1
        assert "the address is already in use" in third.err


async def test_the_log_of_all_is_one_file_of_whole_lines_opened_again_when_asked(
    fleet: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    log, moved = fleet.folder / "gateway.log", fleet.folder / "gateway.log.1"
    fleet.settings["log"] = {"format": "json", "level": "info", "file": str(log)}
    fleet.write()
    async with Gateway.serve(fleet.folder) as gateway:
        await asyncio.gather(*(ask(client, gateway, chat(f"{n}")) for n in range(100)))
        log.rename(moved)
        gateway.signal(signal.SIGUSR1)
        await until(log.exists)
        await asyncio.gather(*(ask(client, gateway, chat(f"{n}")) for n in range(100)))
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    lines = [json.loads(line) for path in (moved, log) for line in path.read_text().splitlines()]
    served = [line for line in lines if line["event"] == "request"]
    assert len(served) == 200
    assert len({line["gateway"] for line in served}) == 2


async def test_a_worker_that_cannot_start_at_all_ends_the_start_with_its_code(
    fleet: Fleet, sandbox: Sandbox, tmp_path: Path
) -> None:
    fleet.write(store="postgresql://nobody:hunter2@127.0.0.1:1/books")
    refused = await command(fleet.folder, "serve")
    assert refused.code == 1
    assert "cannot be reached" in refused.err
    assert "hunter2" not in refused.err
    assert len([line for line in refused.err.splitlines() if "cannot be reached" in line]) == 1  # it is said once


@pytest.mark.timeout(300)
async def test_a_store_that_hangs_is_shown_and_hides_nothing_else(
    sandbox: Sandbox, tmp_path: Path, own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> None:
    fleet = Fleet(sandbox, tmp_path, own_postgres.new_database(), own_valkey.url)

    async def engines() -> tuple[float, ...]:
        seen = await scrape(gateway)
        return tuple(seen[f"gateway_{name}_up"][0][1] for name in ("store", "shared_state"))

    async def become(wanted: tuple[float, ...]) -> None:
        async with asyncio.timeout(PATIENCE), new_client() as client:
            while await engines() != wanted:
                await ask(client, gateway, chat())  # what is asked of nothing is not known to be gone

    async with fleet.serve() as gateway:
        fleet.write(admin={"listen": gateway.admin.removeprefix("http://"), "key": ADMIN_KEY})
        assert await engines() == (1, 1)
        for _ in range(2):  # each of them is asked in its turn
            assert len((await admin(gateway, "/admin/v1/upstreams")).json()["gateways"]) == 2
        own_valkey.pause()
        await become((1, 0))
        own_valkey.resume()
        await become((1, 1))
        own_postgres.pause()
        await become((0, 1))
        async with asyncio.timeout(PATIENCE), new_client() as client:
            sees: dict[str, bool] = {}
            while sees != {"store": False, "shared_state": True}:  # each worker learns of it by what it is asked
                await ask(client, gateway, chat())
                told = await command(fleet.folder, "status", "--json")
                assert told.code == 0, told.err
                state = json.loads(told.out)
                [sees] = [one["sees"] for one in state["gateways"] if one["self"]]
        assert len(state["gateways"]) == 2
        own_postgres.resume()
        await become((1, 1))
        own_postgres.pause()
        await become((0, 1))
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait(within=100) == 0  # a server that hangs keeps none from ending
        own_postgres.resume()


async def test_each_worker_sends_its_own_traces_and_what_is_left_at_the_end(fleet: Fleet) -> None:
    async with Collector() as collector:
        fleet.write(telemetry={"otlp": collector.url})
        late = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "PYTHONPATH": str(Path(__file__).parents[2])}
        async with fleet.serve(late) as gateway:
            for _ in range(12):
                async with new_client() as client:
                    assert (await ask(client, gateway, chat())).status == 200
            names = {line["gateway"] for line in gateway.events("request")}
            gateway.signal(signal.SIGTERM)
            assert await gateway.wait() == 0
        spans = collector.all_spans()
        assert Counter(span.kind for span in spans) == {"server": 12, "client": 12}
        assert {span.resource["service.instance.id"] for span in spans} == names
