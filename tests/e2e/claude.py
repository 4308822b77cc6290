"""Claude's models at an upstream that speaks Anthropic's own API, and what tests ask of them."""

from __future__ import annotations

import json
from typing import Any

from gateway.sandbox import Sandbox
from tests.yaml_text import read_yaml, write_yaml

from .harness import ALICE, BACKUP_KEY, PIAPI_KEY, Answer, Rig, merged

MODEL = "claude-sonnet-4-20250514"
SECOND_KEY = "sk-ant-second-hhhiiijjjkkk"
PROMPT: Any = [{"role": "user", "content": "hello from a confidential prompt"}]

WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
"""A tool that Anthropic runs itself, which no chat has."""

_AT_PIAPI = {"input": 2.25, "output": 11.25}
_AT_BACKUP = {"input": 3, "cached_input": 0.3, "output": 15}


def upstreams(sandbox: Sandbox) -> dict[str, Any]:
    """``claude``, with two hosts and two keys, and ``reserve``: both of Anthropic's dialect."""
    keys = [{"name": "first", "value": PIAPI_KEY}, {"name": "second", "value": SECOND_KEY}]
    hosts = [{"url": sandbox.urls["api"], "wall": "120s"}, {"url": sandbox.urls["proxy"]}]
    reserve = {"dialect": "anthropic", "endpoints": [{"url": sandbox.urls["backup"]}], "keys": [BACKUP_KEY]}
    return {"claude": {"dialect": "anthropic", "endpoints": hosts, "keys": keys}, "reserve": reserve}


def relayed(sandbox: Sandbox, more: str = "") -> str:
    """YAML in which the model has targets of that dialect alone. ``more``: YAML that is merged over it, in which the
    upstream ``piapi`` stands for ``claude`` and ``backup`` for ``reserve``, as the tables of faults write it.
    """
    targets = [{"upstream": "claude", "price": _AT_PIAPI}, {"upstream": "reserve", "price": _AT_BACKUP}]
    document = {"upstreams": upstreams(sandbox), "models": {MODEL: {"targets": targets}}}
    over: Any = read_yaml(more) or {}
    if "upstreams" in over:
        names = {"piapi": "claude", "backup": "reserve"}
        over["upstreams"] = {names.get(name, name): given for name, given in over["upstreams"].items()}
    return write_yaml(merged(document, over))


def either(sandbox: Sandbox, *order: str) -> str:
    """YAML in which the model has a relayed target (``claude``) and one that is asked as a chat (``piapi``)."""
    prices = {"claude": _AT_PIAPI, "piapi": _AT_PIAPI, "backup": _AT_BACKUP, "reserve": _AT_BACKUP}
    targets = [{"upstream": name, "price": prices[name]} for name in order]
    return write_yaml({"upstreams": upstreams(sandbox), "models": {MODEL: {"targets": targets}}})


async def messages(
    rig: Rig, *, headers: dict[str, str] | None = None, path: str = "/v1/messages", **fields: Any
) -> Answer:
    """Ask, with the headers of Anthropic's SDKs."""
    asked = {"model": MODEL, "max_tokens": 500, "messages": PROMPT, **fields}
    body = {name: value for name, value in asked.items() if value is not None}
    async with rig.client() as client:
        sent = {"x-api-key": ALICE, "anthropic-version": "2023-06-01", **(headers or {})}
        await client.ask(json.dumps(body).encode(), None, sent, target=path)
        answer = await client.answer()
        return answer


def events(answer: Answer) -> list[dict[str, Any]]:
    """A stream's events. Comments, which keep it alive, are left out."""
    return [json.loads(payload) for payload in answer.payloads]


def words(answer: Answer) -> str:
    """What a message says, whole or streamed."""
    if answer.is_stream:
        deltas = [event["delta"] for event in events(answer) if event["type"] == "content_block_delta"]
        return "".join(delta.get("text", "") for delta in deltas)
    return "".join(block.get("text", "") for block in answer.json()["content"])
