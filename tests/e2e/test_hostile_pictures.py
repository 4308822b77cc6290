"""An upstream that gives pages and drawings out as pictures: none reaches a client as one, and none is served by us."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import Answer, Rig

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(60)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
PAGES = {
    "page": b"<!doctype html><script>alert(1)</script>",
    "drawing": SVG,
    "drawing_after_a_mark": b"\xef\xbb\xbf \n" + SVG,
    "xml": b'<?xml version="1.0"?>' + SVG,
    "script": b"alert(document.domain)//",
    "pdf": b"%PDF-1.7 /JS (app.alert(1))",
}
GIF_AND_SCRIPT = b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)//"
PNG_AND_PAGE = PNG + b"<script>alert(1)</script>"


class Upstream:
    """An Images API on a raw socket that answers every order with ``data``."""

    def __init__(self) -> None:
        self.data = b""
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        await reader.readexactly(length)
        body = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(self.data).decode()}]}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        writer.write(body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    async with await asyncio.start_server(upstream.answer, "127.0.0.1", 0) as server:
        upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield upstream


@pytest.fixture
async def rig(gateway: StartGateway, upstream: Upstream) -> Rig:
    return await gateway(
        json.dumps(
            {
                "upstreams": {"art": {"dialect": "openai", "endpoints": [{"url": upstream.url}], "keys": ["art-1"]}},
                "models": {
                    "painter": {"targets": [{"upstream": "art", "operation": "images", "price": {"image": 0.01}}]}
                },
            }
        )
    )


async def order(rig: Rig, **fields: Any) -> Answer:
    body = {"model": "painter", "prompt": "A cat", **fields}
    async with rig.client() as client:
        await client.ask(json.dumps(body).encode(), target="/v1/images/generations")
        return await client.rest(await client.head())


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("format", ["url", "b64_json"])
async def test_what_is_no_picture_is_not_handed_out(rig: Rig, upstream: Upstream, kind: str, format: str) -> None:
    upstream.data = PAGES[kind]
    answer = await order(rig, response_format=format)
    assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
    assert base64.b64encode(PAGES[kind])[:24] not in answer.body
    assert not (rig.folder / "images").exists()


@pytest.mark.parametrize("format", ["url", "b64_json"])
async def test_a_drawing_that_was_asked_for_stays_text_in_json(rig: Rig, upstream: Upstream, format: str) -> None:
    upstream.data = SVG
    answer = await order(rig, svg={"mode": "auto"}, response_format=format)
    assert answer.status == 200
    assert answer.json()["data"] == [{"b64_json": base64.b64encode(SVG).decode()}]
    assert not (rig.folder / "images").exists() or not list((rig.folder / "images").iterdir())
    upstream.data = PAGES["page"]
    assert (await order(rig, svg={"mode": "auto"}, response_format=format)).status == 502


@pytest.mark.parametrize(("data", "kind"), [(GIF_AND_SCRIPT, "gif"), (PNG_AND_PAGE, "png")])
async def test_what_is_a_picture_and_more_is_served_as_a_picture_alone(
    rig: Rig, upstream: Upstream, data: bytes, kind: str
) -> None:
    upstream.data = data
    link = (await order(rig, response_format="url")).json()["data"][0]["url"]
    async with rig.client() as client:
        await client.ask(b"", None, method="GET", target=link.partition("/images/")[1] + link.partition("/images/")[2])
        answer = await client.rest(await client.head())
    assert (answer.status, answer.body) == (200, data)
    assert answer.header("content-type") == f"image/{kind}"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("content-security-policy") == "default-src 'none'; sandbox"
    assert answer.header("content-disposition") == f'inline; filename="image.{kind}"'
