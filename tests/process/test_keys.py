"""``piapi-gateway keys`` where processes meet: several at once, and pipes; and what a server does about guesses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2

from gateway.sandbox import Sandbox

from .running import ALICE_KEY, PROGRAM, Answer, Gateway, ask, chat, command, commands, new_client, settings, write


async def asked(gateway: Gateway, key: str) -> Answer:
    async with new_client(key) as client:
        return await ask(client, gateway, chat())


async def test_several_at_once_wait_for_one_another(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, tmp_path, keys=[])
    write(tmp_path, document)
    names = ["a", "b", "c"]
    alone = await commands(tmp_path, *(["keys", "create", name, "--json"] for name in names))
    assert [made.code for made in alone] == [0] * 3
    told = "".join(made.err for made in alone)
    assert told == f"keys: made a new store: {tmp_path / 'gateway.db'}\n", "by the one that made it"
    same = await commands(tmp_path, *[["keys", "create", "d"]] * 3)
    assert sorted(made.code for made in same) == [0, 1, 1]
    async with Gateway.serve(tmp_path) as gateway:
        meet = {**document, "admin": {"listen": gateway.admin.removeprefix("http://")}}
        (tmp_path / "meet.yaml").write_text(json.dumps(meet), encoding="utf-8")
        at = ("--config", "meet.yaml")
        beside = await commands(tmp_path, *(["keys", "create", name, "--json", *at] for name in ("e", "f")))
        for made in (*alone, *beside):
            assert (await asked(gateway, json.loads(made.out)["key"])).status == 200
        listed = await command(tmp_path, "keys", "list", "--json", *at)
        assert [key["name"] for key in json.loads(listed.out)] == ["a", "b", "c", "d", "e", "f"]


async def test_guesses_are_slowed_down_and_honest_clients_are_not(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        assert (await asked(gateway, ALICE_KEY)).status == 200
        answers = [await asked(gateway, f"gw-guess-{number}") for number in range(12)]
        assert [answer.status for answer in answers] == [401] * 10 + [429] * 2
        assert answers[-1].error["code"] == "rate_limit_exceeded"
        assert int(answers[-1].headers["retry-after"]) <= 60
        async with new_client("gw-guess") as guesser:
            assert (await guesser.get(f"{gateway.url}/v1/models")).status_code == 429, "whatever the route"
        assert (await asked(gateway, ALICE_KEY)).status == 200
        async with httpx2.AsyncClient(trust_env=False) as admin:
            assert "gateway_auth_failures_total 13.0" in (await admin.get(f"{gateway.admin}/metrics")).text


async def test_the_key_goes_to_the_output_alone_however_it_is_read(tmp_path: Path) -> None:
    """``KEY=$(piapi-gateway keys create carol | head -1)``."""
    write(tmp_path, {"admin": {"listen": "127.0.0.1:1"}})
    script = f'KEY=$({PROGRAM} keys create carol | head -1); echo "${{#KEY}}"'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (out, err) == (b"46\n", f"keys: made a new store: {tmp_path / 'gateway.db'}\n".encode())
