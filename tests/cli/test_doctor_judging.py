"""What ``doctor`` makes of what it found: every judgement, without anything to look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.looks.books import judge_held, judge_keys, judge_store
from gateway.cli.looks.collector import judge_collector
from gateway.cli.looks.disks import Folder, judge_images, judge_store_folder
from gateway.cli.looks.finding import Finding, refused, size
from gateway.cli.looks.listeners import judge_port, judge_ready, judge_running, judge_sameness
from gateway.cli.looks.machine import judge_descriptors, judge_extras, judge_python
from gateway.cli.looks.settings import judge_configuration, judge_endings, judge_error, judge_mode
from gateway.cli.looks.shared import judge_shared
from gateway.cli.looks.upstreams import judge_clock, judge_keys_there, judge_proxies, judge_upstreams
from gateway.runtime.descriptors import NO_LIMIT
from gateway.shared_state.base import SharedLook
from gateway.stores.store_look import StoreLook

STORE = StoreLook("/srv/gateway.db", "SQLite 3.45.1", 18, 18, open=0)
FOLDER = Folder(Path("/srv"), there=True, writable=True, free=1 << 40)
ROW = {"upstream": "piapi", "endpoint": "https://api.piapi.ai", "upstream_key": "first", "state": "ok"}
STATUS = {
    "version": "3.0.0",
    "in_flight": 2,
    "draining": False,
    "store": "/srv/gateway.db",
    "off": ["backup"],
    "upstreams": [
        {"name": "piapi", "endpoints": [{"url": "https://api.piapi.ai"}]},
        {"name": "backup", "endpoints": [{"url": "https://api.openai.com"}]},
    ],
}
HOSTS = {"piapi": ["https://api.piapi.ai"]}


def states(rows: list[Finding]) -> list[str]:
    """All states; what is not well must say what to do, and what is well has nothing to do."""
    for row in rows:
        assert bool(row.advice) == (row.state != "ok"), row
        assert row.found
    return [row.state for row in rows]


def state(row: Finding) -> str:
    return states([row])[0]


@pytest.mark.parametrize(
    ("version", "uvloop", "needed", "judged"),
    [
        ((3, 10, 9), True, True, "wrong"),
        ((3, 11, 0), True, True, "ok"),
        ((3, 14, 1), False, True, "warning"),
        ((3, 14, 1), False, False, "ok"),
    ],
)
def test_python(version: tuple[int, ...], uvloop: bool, needed: bool, judged: str) -> None:
    assert state(judge_python(version, "CPython", uvloop, needed)) == judged


def test_extras_and_open_files() -> None:
    assert state(judge_extras(["postgres", "redis"], [])) == "ok"
    missing = judge_extras(["postgres", "redis"], ["redis"])
    assert (missing.state, missing.advice) == ("wrong", "run: pip install 'piapi-gateway[redis]'")
    assert state(judge_descriptors(10_000, 65_536)) == "ok"
    assert state(judge_descriptors(10_000, NO_LIMIT)) == "ok"
    few = judge_descriptors(10_000, 1_024)
    assert few.state == "warning"
    assert "LimitNOFILE=20064" in few.advice


def test_the_configuration() -> None:
    assert state(judge_error("config.yaml:3:1: drian: unknown")) == "wrong"
    assert states(judge_configuration("config.yaml", [], [])) == ["ok"]
    assert states(judge_configuration("config.yaml", ["odd", "every user can read it. Run: chmod"], [])) == [
        "ok",
        "warning",
        "warning",
    ]
    assert states(judge_configuration("config.yaml", [], ["store: two of them"])) == ["wrong"]
    assert state(judge_endings(0, 0, "")) == "ok"
    assert "the first: m ends" in judge_endings(3, 1, "m ends").found
    assert state(judge_endings(3, 1, "m ends")) == "warning"


@pytest.mark.parametrize(
    ("mode", "fatal", "judged"),
    [(None, True, None), (0o600, True, None), (0o640, True, "wrong"), (0o644, False, "warning")],
)
def test_files_that_others_can_read(mode: int | None, fatal: bool, judged: str | None) -> None:
    row = judge_mode(Path("/srv/gateway.db"), mode, fatal)
    assert (None if row is None else state(row)) == judged


@pytest.mark.parametrize(
    ("folder", "judged"),
    [
        (FOLDER, "ok"),
        (FOLDER._replace(there=False), "wrong"),
        (FOLDER._replace(writable=False), "wrong"),
        (FOLDER._replace(free=500 << 20), "warning"),
        (FOLDER._replace(free=1 << 20), "wrong"),
    ],
)
def test_the_folder_of_the_store(folder: Folder, judged: str) -> None:
    assert state(judge_store_folder(folder)) == judged


@pytest.mark.parametrize(
    ("folder", "judged"),
    [
        (FOLDER, "ok"),
        (FOLDER._replace(there=False), "ok"),
        (FOLDER._replace(writable=False), "wrong"),
        (FOLDER._replace(free=500 << 20), "warning"),
        (FOLDER._replace(free=500 << 20, used=900 << 20), "ok"),
        (FOLDER._replace(open_to_others=True), "warning"),
    ],
)
def test_the_folder_of_pictures(folder: Folder, judged: str) -> None:
    assert state(judge_images(folder, 1 << 30)) == judged


@pytest.mark.parametrize(
    ("look", "judged"),
    [
        (None, ["ok"]),
        (STORE, ["ok", "ok", "ok"]),
        (replace(STORE, damage=None, open=None), ["ok", "ok", "ok"]),
        (replace(STORE, schema=19), ["wrong"]),
        (replace(STORE, schema=17), ["warning", "ok"]),
        (replace(STORE, damage="row 7 missing from index"), ["ok", "wrong", "ok"]),
        (replace(STORE, lost=("3 requests",)), ["ok", "wrong", "ok"]),
        (replace(STORE, spilled=2), ["ok", "ok", "warning"]),
        (replace(STORE, log_bytes=1 << 30), ["ok", "ok", "warning"]),
    ],
)
def test_the_store(look: StoreLook | None, judged: list[str]) -> None:
    assert states(judge_store("/srv/gateway.db", look)) == judged


def test_what_is_held_and_keys_without_a_team() -> None:
    assert state(judge_held(0, 0)) == "ok"
    held = judge_held(2, 1_500_000_000)
    assert held.state == "warning"
    assert held.found.startswith("$1.5")
    assert states(judge_keys([])) == ["ok"]
    [lost] = judge_keys(["the key 'bob' is refused. Name its team"])
    assert (lost.state, lost.found, lost.advice) == ("warning", "the key 'bob' is refused", "Name its team")


@pytest.mark.parametrize(
    ("version", "seconds", "judged"),
    [
        ((7, 2, 4), 0.001, "ok"),
        ((6, 2), 0.001, "ok"),
        ((6, 0, 16), 0.001, "wrong"),
        ((), 0.001, "warning"),
        ((8, 0), 0.2, "warning"),
    ],
)
def test_the_shared_state(version: tuple[int, ...], seconds: float, judged: str) -> None:
    assert state(judge_shared(SharedLook("redis://cache:6379/0", version, seconds))) == judged


@pytest.mark.parametrize(
    ("port", "judged"),
    [("free", "ok"), ("any", "ok"), ("taken", "wrong"), ("forbidden", "wrong"), ("elsewhere", "wrong")],
)
def test_a_listener_where_no_gateway_answers(port: Any, judged: str) -> None:
    assert state(judge_port("main listener", "127.0.0.1:8400", port)) == judged


def test_a_gateway_that_runs() -> None:
    assert state(judge_running("127.0.0.1:8401", STATUS)) == "ok"
    assert state(judge_running("127.0.0.1:8401", STATUS | {"draining": True})) == "warning"
    assert state(judge_ready("127.0.0.1:8400", 200, [], known=True)) == "ok"
    assert state(judge_ready("127.0.0.1:8400", 200, [], known=False)) == "warning"
    unready = judge_ready("127.0.0.1:8400", 503, ["draining", "the ledger cannot be written"], known=True)
    assert unready.state == "wrong"
    assert "draining, the ledger cannot be written" in unready.found
    assert state(judge_ready("127.0.0.1:8400", 0, [], known=True)) == "wrong"


@pytest.mark.parametrize(
    ("store", "hosts", "judged"),
    [
        ("/srv/gateway.db", HOSTS, "ok"),
        ("/srv/other.db", HOSTS, "warning"),
        ("/srv/gateway.db", {"piapi": ["https://proxy.piapi.ai"]}, "warning"),
        ("/srv/gateway.db", {**HOSTS, "backup": ["https://api.openai.com"]}, "warning"),
        ("/srv/gateway.db", {}, "warning"),
    ],
)
def test_whether_it_runs_with_this_file(store: str, hosts: dict[str, list[str]], judged: str) -> None:
    assert state(judge_sameness(STATUS, store, hosts)) == judged


@pytest.mark.parametrize(
    ("said", "otherwise", "alone"),
    [
        ("ok", "ok", "ok"),
        ("the key is refused (401): replace it in the configuration", "wrong", "wrong"),
        ("unreachable: connection refused", "warning", "wrong"),
        ("unreachable: [SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", "warning", "wrong"),
        ("answered 500", "warning", "wrong"),
    ],
)
def test_an_upstream_by_itself_and_beside_one_that_works(said: str, otherwise: str, alone: str) -> None:
    row = ROW | {"state": said}
    assert states(judge_upstreams([row])) == [alone]
    assert states(judge_upstreams([row, ROW])) == [otherwise, "ok"]
    if "SSL" in said:
        assert "ca_file" in judge_upstreams([row])[0].advice


def test_accounts_keys_and_proxies() -> None:
    [rich] = judge_upstreams([ROW | {"plan": "Creator", "balance_usd": 12.345}])
    assert rich.found == "https://api.piapi.ai, key first: ok, plan Creator, $12.35 left"
    assert states(judge_upstreams([ROW | {"balance_usd": 0}])) == ["warning"]
    assert states(judge_keys_there({"piapi": None}, ["piapi"])) == ["wrong"]
    assert states(judge_keys_there({"piapi": None, "backup": None}, ["backup"])) == []
    assert states(judge_proxies({})) == []
    assert states(judge_proxies({"piapi": "proxy:3128"})) == ["ok"]


@pytest.mark.parametrize(
    ("ahead", "judged"),
    [
        ({}, ["warning"]),
        ({"api.piapi.ai": 1.2}, ["ok"]),
        ({"api.piapi.ai": 121.0}, ["warning"]),
        ({"api.piapi.ai": -3600.0}, ["warning"]),
        ({"api.piapi.ai": 3600.0, "api.openai.com": 1.0}, ["ok"]),
    ],
)
def test_the_clock(ahead: dict[str, float], judged: list[str]) -> None:
    assert states(judge_clock(ahead)) == judged


def test_the_collector_and_words() -> None:
    assert state(judge_collector("http://localhost:4318", "")) == "ok"
    assert state(judge_collector("http://localhost:4318", "Connection refused")) == "warning"
    assert refused("store", "it is damaged. Restore a backup.") == (
        "store",
        "wrong",
        "it is damaged",
        "Restore a backup.",
    )
    assert refused("store", "it is damaged").advice
    assert [size(number) for number in (5, 1536, 3 << 30, 1 << 50)] == ["5 bytes", "1.5 KiB", "3.0 GiB", "1024.0 TiB"]
