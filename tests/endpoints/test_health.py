"""``/healthz`` says that the process lives, ``/readyz`` whether it should be sent requests, and why not."""

from __future__ import annotations

import json

import pytest

from gateway.endpoints.health import health_routes

from .gateway import ask, handlers


@pytest.mark.parametrize("reasons", [[], ["draining"], ["draining", "the ledger cannot be written"]])
async def test_the_two_answers(reasons: list[str]) -> None:
    healthz, readyz = handlers(health_routes(lambda: reasons))
    alive, ready = await ask(healthz), await ask(readyz)
    assert (alive.status_code, json.loads(alive.body)) == (200, {"status": "ok"})
    assert ready.status_code == (503 if reasons else 200)
    document = json.loads(ready.body)
    assert document == ({"status": "unavailable", "reasons": reasons} if reasons else {"status": "ok"})
    assert {answer.headers["cache-control"] for answer in (alive, ready)} == {"no-store"}
