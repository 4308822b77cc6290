"""Every way in which the sandbox can fail × what is asked for.

The client's answer is in the one shape of errors, and no output (answers, log, metrics, admin API, store, backup) holds
a key; no answer the name of one, a host, a web page or a traceback.
"""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import SCENARIOS
from gateway.stores.sqlite.backup import make_backup
from gateway.translate.chat_stream import ChatStream
from tests.raw_client import RawClient

from .conftest import StartGateway
from .harness import MESSAGES, PATH, PROMPT, SECRETS, Answer, Rig, error_of
from .test_steering import ask

NAMES = ("the-pool-key-of-piapi", "the-pool-key-of-backup")
ADMIN_KEY = "admin-0123456789abcdef-secret"
CONFIG = f"""
admin: {{key: {ADMIN_KEY}}}
upstreams:
  piapi: {{keys: [{{name: {NAMES[0]}, value: {SECRETS[2]}}}], timeouts: {{head: 300ms, content: 300ms, idle: 300ms}}}}
  backup: {{keys: [{{name: {NAMES[1]}, value: {SECRETS[3]}}}], timeouts: {{head: 300ms, content: 300ms, idle: 300ms}}}}
"""
FOR_EVER = {"endless", "wall", "model_list_slow", "model_list_huge", "slow", "trickle", "big_picture", "task_never"}
"""Played by other tests, as they take their time."""

ADMIN = ("usage?by=key,model,upstream", "upstreams", "keys", "verify", "held", "audit")
NEVER_TOLD = (
    "Traceback",
    'File "/',
    "site-packages",
    "<html",
    "<!doctype",
    "127.0.0.1",
    "localhost",
    "asyncio",
    "sqlite",
)
"""What an error must not hold; the tests' upstreams are all at 127.0.0.1."""


WITH_WAITS = {"stall_head", "stall_before_content", "stall_mid", "stall_after_finish", "hang_after_done", "drip"}
WITH_WAITS |= {
    "rate_limited",
    "rate_limited_bare",
    "rate_limited_garbage",
    "tokens-used-up-429",
    "overloaded",
    "pause_after_finish",
    "late_usage",
}
"""Played for chats alone: a picture that is paid for is waited for, for minutes."""

PLAYED = [name for name in sorted(SCENARIOS) if name not in FOR_EVER]


@pytest.mark.parametrize("scenario", PLAYED)
async def test_of_every_failure(gateway: StartGateway, scenario: str, tmp_path: Path) -> None:
    rig = await gateway(CONFIG)
    rig.for_all_roles(scenario)
    chat = {"model": "gpt-4o", "messages": MESSAGES}
    orders: list[tuple[str, dict[str, Any]]] = [
        (PATH, chat),
        (PATH, {**chat, "stream": True}),
        (PATH, {**chat, "model": "gpt-4o-image"}),
        ("/v1/images/generations", {"model": "gpt-4o-image", "prompt": PROMPT}),
        ("/api/v1/task", {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": PROMPT}}),
    ]
    for target, body in orders[: 2 if scenario in WITH_WAITS else None]:
        answer = await ask(rig, target, body, f"X-Request-Id: {scenario}")
        check_told(answer, target, scenario)
    rig.sandbox.clear_scripts()
    await check_outputs(rig, tmp_path / "copy")


def check_told(answer: Answer, target: str, scenario: str) -> None:
    """An answer that is an error has its shape; nothing of any answer is what no client may read."""
    assert answer.header("x-request-id") == scenario
    told = f"{answer.headers}\n{answer.body.decode('utf-8', 'replace')}"
    assert not [secret for secret in (*SECRETS, *NAMES, ADMIN_KEY) if secret in told], f"{scenario} at {target}"
    errors = []
    if answer.status >= 400:
        errors.append(answer.error())
    elif answer.is_stream and b'"error"' in answer.payloads[-1]:
        errors.append(error_of(json.loads(answer.payloads[-1])))
    for error in errors:
        assert isinstance(error["message"], str)
        assert isinstance(error["type"], str)
        assert isinstance(error["code"], str)
        assert error["param"] is None or isinstance(error["param"], str)
        words = json.dumps(error).lower()
        assert not [word for word in NEVER_TOLD if word.lower() in words], f"{scenario} at {target}: {error}"
        assert len(error["message"]) < 4096


async def check_outputs(rig: Rig, copy: Path) -> None:
    """What operators and thieves can read: no key in any of it, and no prompt in what is written, but where the answer
    to paid work repeats it, which is kept for a re-send.
    """
    texts = {}
    client = await RawClient.connect(rig.gateway.admin_url)
    for path in ("/metrics", *(f"/admin/v1/{path}" for path in ADMIN)):
        answer = await client.request("GET", path, b"", f"Authorization: Bearer {ADMIN_KEY}")
        assert answer.status == 200, path
        texts[path] = f"{answer.headers}\n{answer.body.decode()}"
    await client.close()
    await rig.sandbox.until_idle()
    rig.log.flush()
    copy.mkdir()
    make_backup(rig.folder / "gateway.db", copy / "backup", wall_ns=1_800_000_000_000_000_000)
    for file in [*rig.folder.glob("gateway.*"), *copy.rglob("*")]:
        if file.is_file() and not file.name.endswith(".pepper"):
            texts[file.name] = file.read_bytes().decode("latin-1")
    for place, text in texts.items():
        assert not [secret for secret in (*SECRETS, ADMIN_KEY) if secret in text], place
        assert PROMPT not in text or place.startswith("gateway.db"), place
    assert not columns_with(copy / "backup" / "gateway.db", PROMPT) - {"jobs.body"}


def columns_with(store: Path, word: str) -> set[str]:
    """The columns of a store that have the word anywhere."""
    found = set()
    with closing(sqlite3.connect(store)) as opened:
        for (table,) in opened.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            rows = opened.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    if word in text:
                        found.add(f"{table}.{name}")
    return found


class Confided(Exception):
    """A mistake of ours whose words, cause and place hold keys."""


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_of_a_crash_with_keys_in_its_words(
    gateway: StartGateway, stream: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The traceback is in the log and nowhere else, and the keys in it are struck out."""
    rig = await gateway(CONFIG)
    rig.expected_crashes = True

    def fail(stream: ChatStream, data: bytes) -> None:
        try:
            raise Confided(repr({"authorization": f"Bearer {SECRETS[2]}"}))
        except Confided as cause:
            raise Confided(f"https://x/?key={SECRETS[3]}&a={SECRETS[0]}") from cause

    with monkeypatch.context() as patch:
        patch.setattr(ChatStream, "feed", fail)
        answer = await ask(
            rig, PATH, {"model": "gpt-4o", "messages": MESSAGES, "stream": stream}, "X-Request-Id: crash"
        )
    assert answer.status == 500
    check_told(answer, PATH, "crash")
    assert "Confided" not in answer.body.decode()
    [line] = await rig.log_lines("internal_error")
    assert "Confided" in line["traceback"]
    assert line["traceback"].count("[redacted]") >= 3
    await check_outputs(rig, tmp_path / "copy")


def test_no_failure_is_left_out() -> None:
    assert set(PLAYED) | FOR_EVER == set(SCENARIOS)
    assert len(FOR_EVER) < 10
