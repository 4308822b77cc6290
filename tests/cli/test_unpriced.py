"""Spend without a price as an operator meets it: seen in ``usage``, ended by the lines that it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import yaml

from gateway.sandbox import Sandbox
from tests.process.running import ask, chat, new_client, settings, write

from .in_process import RunningGateway, command, done, serving

MODELS: dict[str, Any] = {
    "gpt-free": {"targets": [{"upstream": "piapi", "price": {"input": 0, "output": 0}}]},
    "gpt-dark": {"targets": [{"upstream": "piapi"}]},
}


async def spend(gateway: RunningGateway, *models: str) -> None:
    """One request to each, until the ledger has them all."""
    before = await requests(gateway)
    async with new_client() as alice:
        for model in models:
            assert (await ask(alice, gateway, chat(model=model))).status == 200
    while await requests(gateway) < before + len(models):
        pass


async def requests(gateway: RunningGateway) -> int:
    told = await command("usage", "--by=", "--format", "json", *gateway.meet)
    return sum(row["requests"] for row in json.loads(told.out))


async def test_the_table_says_what_to_add_and_that_ends_it(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder, models=MODELS)
    async with serving(folder, document) as gateway:
        await spend(gateway, "gpt-free", "gpt-4o")
        plain = await done("usage", "--by", "model", *gateway.meet)
        assert "unpriced" not in plain, "what is free is not"

        await spend(gateway, "gpt-dark")
        for by in ("model", "key", "key,day", ""):
            table, _, advice = (await done("usage", f"--by={by}", *gateway.meet)).partition("\n\n")
            assert table.splitlines()[0].endswith("cost usd  unpriced")
            assert table.splitlines()[-1].split()[-1] == "1"
            assert advice.startswith("unpriced: 1 request (")
            line = advice.splitlines()[-1]
            assert line == "  gpt-dark: {targets: [{upstream: piapi, price: {input: …, output: …}}]}"

        priced = yaml.safe_load(line.replace("…", "2"))
        write(folder, {**document, "models": {**MODELS, **priced}})
        assert await gateway.gateway.reload() == []
        await spend(gateway, "gpt-dark")
        [dark] = [
            row
            for row in json.loads(await done("usage", "--by", "model", "--format", "json", *gateway.meet))
            if row["model"] == "gpt-dark"
        ]
    assert (dark["requests"], dark["unpriced_requests"]) == (2, 1)
    told = [(use["price"], use["requests"], use["unpriced_requests"]) for use in dark["prices"]]
    assert sorted(told, key=str) == [(None, 1, 1), ({"input": 2, "output": 2}, 1, 0)]
    assert dark["cost_usd"] > 0
    after = json.loads(await done("usage", "--by", "model", "--format", "json"))
    assert dark in after, "the same without the gateway"


async def test_csv_has_the_same_columns_behind_the_others(folder: Path, sandbox: Sandbox) -> None:
    async with serving(folder, settings(sandbox, folder, models=MODELS)) as gateway:
        await spend(gateway, "gpt-dark", "gpt-free")
        listed = json.loads(await done("usage", "--by", "model", "--format", "json", *gateway.meet))
        text = await done("usage", "--by", "model", "--format", "csv", *gateway.meet)
    rows = list(csv.DictReader(text.splitlines()))
    assert text.splitlines()[0].startswith(
        "model,requests,input_tokens,cached_input_tokens,output_tokens,images,cost_usd,unpriced_requests,"
    )
    for row, told in zip(rows, listed, strict=True):
        for name in row:
            if not name.endswith("_usd"):
                assert row[name] == str(told[name])
    assert [(row["model"], row["unpriced_requests"]) for row in rows] == [("gpt-dark", "1"), ("gpt-free", "0")]
    assert int(rows[0]["unpriced_input_tokens"]) == int(rows[0]["input_tokens"]) > 0
