"""The table of scenarios: complete against the fault catalogue, and every one of them plays."""

from __future__ import annotations

import pytest

from gateway.sandbox import SCENARIOS, Sandbox
from tests.sandbox.client import HELLO, STREAM, ask
from tests.sandbox.task_client import TASK

# Rows 1 to 4 are played by closing the port and by TLS, row 6 needs HTTP/2, which the gateway does not speak upstream.
PLAYED_ROWS = {5, *range(7, 41)}


def test_every_row_of_the_catalogue_that_http_can_show_has_a_scenario() -> None:
    assert {scenario.fault_row for scenario in SCENARIOS.values()} >= PLAYED_ROWS


def test_every_scenario_says_what_it_does() -> None:
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name
        assert scenario.summary


FINITE = [name for name in SCENARIOS if name not in ("endless", "random_faults")]
LOUD = [name for name in FINITE if name not in ("garbage", "reset_before_head")]


CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"
CONTENTS = {
    "whole": (CHAT, HELLO),
    "stream": (CHAT, STREAM),
    "image_chat": (CHAT, {**STREAM, "model": "gpt-4o-image"}),
    "images": (IMAGES, {"model": "gpt-image-1", "prompt": "a fox", "stream": True, "partial_images": 1}),
    "task": ("/api/v1/task", TASK),
}
SHORTER = {
    "drip": "drip;interval=1;count=2",
    "big_picture": "big_picture;mib=1",
    "model_list_huge": "model_list_huge;mib=1",
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", FINITE)
async def test_every_scenario_plays_and_says_it_is_a_simulation(name: str, kind: str) -> None:
    """Silences are cut by a short wall, so this also shows that no scenario outlasts Cloudflare."""
    path, content = CONTENTS[kind]
    async with Sandbox(wall=0.02) as sandbox:
        received = await ask(sandbox, content, SHORTER.get(name, name), path=path)

        await sandbox.until(lambda: sandbox.open_connections == 0)
        assert sandbox.requests[0].ending != "running"
        assert sandbox.requests[0].scenario == name
        assert sandbox.protocol_errors == []
    if name in LOUD:
        assert b"\r\nx-sandbox: 1\r\n" in received.raw or received.ending == "reset"
