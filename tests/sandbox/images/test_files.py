"""The route of image files, and what can go wrong there without touching anything else."""

from __future__ import annotations

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, Received, ask

IMAGE = "/files/gen-1-64x32.png"


async def fetch(sandbox: Sandbox, path: str = IMAGE) -> Received:
    return await ask(sandbox, method="GET", path=path, key=None)


async def test_twice_forbidden_and_then_there(sandbox: Sandbox) -> None:
    sandbox.set_default("status;code=403;path=/files/;times=2")

    assert (await ask(sandbox, HELLO)).status == 200
    assert [(await fetch(sandbox)).status for _ in range(3)] == [403, 403, 200]


async def test_gone_for_ever(sandbox: Sandbox) -> None:
    sandbox.script("status;code=404;path=/files/", times=None)

    assert [(await fetch(sandbox)).status for _ in range(3)] == [404, 404, 404]
    assert (await ask(sandbox, HELLO)).status == 200


async def test_moved(sandbox: Sandbox) -> None:
    sandbox.script(f"redirect;path={IMAGE};location=/files/gen-2-8x8.png")
    moved = await fetch(sandbox)

    assert (moved.status, moved.headers[b"location"]) == (302, b"/files/gen-2-8x8.png")
    assert (await fetch(sandbox, "/files/gen-2-8x8.png")).status == 200


async def test_a_web_page_under_any_content_type(sandbox: Sandbox) -> None:
    sandbox.script("html_200;path=/files/")
    sandbox.script("html_200;path=/files/;content_type=image/png")
    honest, lying = await fetch(sandbox), await fetch(sandbox)

    assert honest.headers[b"content-type"] == b"text/html; charset=utf-8"
    assert lying.headers[b"content-type"] == b"image/png"
    assert honest.body == lying.body


async def test_too_big(sandbox: Sandbox) -> None:
    sandbox.script("big_picture;path=/files/;mib=2")
    sandbox.script("big_picture;path=/files/;mib=2;announced=0")
    announced, silent = await fetch(sandbox), await fetch(sandbox)

    assert announced.headers[b"content-length"] == b"2097152"
    assert b"content-length" not in silent.headers
    assert announced.body == silent.body
    assert announced.body.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(announced.body) == 2 * 1024 * 1024
