"""Clients that buy a picture and send again what they were not answered: OpenAI's two SDKs, and one written by hand.

Each call of ``buy`` is one client of its own, which leaves if it is cancelled.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2
import openai
import pytest

from tests.base_config import ALICE
from tests.e2e.node_sdk import FOLDER

GENERATIONS = "/v1/images/generations"

MISLED = {"x-stainless-read-timeout": "600", "x-stainless-timeout": "600"}
"""What a client says that does not tell its own time-out: it is not told in time, and times out."""


@dataclass(frozen=True)
class Got:
    """What a client ended with: the answer's document, or the code of its error (of a time-out, its class)."""

    document: Any = None
    trouble: str = ""


@dataclass(frozen=True)
class Wish:
    """``order``: the body. ``timeout``: seconds of one try. ``retries``: further tries. ``again``: it says that this is
    a re-send already. ``misled``: it does not tell its time-out.
    """

    order: dict[str, Any]
    timeout: float = 20.0
    retries: int = 2
    again: bool = False
    misled: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {**({"x-stainless-retry-count": "1"} if self.again else {}), **(MISLED if self.misled else {})}


class Buyer(Protocol):
    async def buy(self, url: str, wish: Wish) -> Got: ...


class PythonSDK:
    """openai-python."""

    async def buy(self, url: str, wish: Wish) -> Got:
        async with openai.AsyncOpenAI(
            api_key=ALICE, base_url=f"{url}/v1", timeout=wish.timeout, max_retries=wish.retries
        ) as sdk:
            try:
                answer = await sdk.images.generate(**wish.order, extra_headers=wish.headers)
            except openai.APIStatusError as error:
                return Got(trouble=str(error.code))
            except openai.APIConnectionError as error:
                return Got(trouble=type(error).__name__)
            return Got(answer.to_dict())


class NodeSDK:
    """The npm package, in a process of its own (tests/node/asker.mjs)."""

    async def buy(self, url: str, wish: Wish) -> Got:
        options = {
            "baseURL": f"{url}/v1",
            "apiKey": ALICE,
            "timeout": int(wish.timeout * 1000),
            "maxRetries": wish.retries,
        }
        line = {"check": "generate", "options": options, "fields": wish.order, "headers": wish.headers}
        node = shutil.which("node")
        if node is None or not (FOLDER / "node_modules" / "openai").is_dir():
            pytest.skip("Node or its openai package is missing (scripts/node_sdk.sh): the JavaScript SDK is NOT tested")
        process = await asyncio.create_subprocess_exec(
            node,
            "asker.mjs",
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        try:
            said, _ = await process.communicate(json.dumps(line).encode() + b"\n")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        report = json.loads(said)
        if report["ok"]:
            return Got(report["answer"])
        return Got(trouble=report["error"].get("code") or report["error"]["kind"])


@dataclass
class ByHand:
    """One that only repeats, with the same Idempotency-Key each time, and says by our header how long it waits."""

    key: str = field(default_factory=lambda: secrets.token_hex(8))

    async def buy(self, url: str, wish: Wish) -> Got:
        headers = {"authorization": f"Bearer {ALICE}", "idempotency-key": self.key}
        if not wish.misled:
            headers["x-gateway-patience"] = f"{wish.timeout}s"
        trouble = ""
        async with httpx2.AsyncClient(timeout=wish.timeout, headers=headers, trust_env=False) as client:
            for _ in range(1 + wish.retries):
                try:
                    answer = await client.post(f"{url}{GENERATIONS}", json=wish.order)
                except httpx2.TransportError as error:
                    trouble = type(error).__name__
                    await asyncio.sleep(0.5)
                    continue
                if answer.status_code == 200:
                    return Got(answer.json())
                trouble = answer.json()["error"]["code"]
                if answer.headers["x-should-retry"] != "true":
                    break
        return Got(trouble=trouble)


BUYERS: dict[str, type[Buyer]] = {"python": PythonSDK, "node": NodeSDK, "by hand": ByHand}
