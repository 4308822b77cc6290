"""Forms made to cost much: a hundred thousand parts, headers, fields, an endless preamble. Each is refused at once, and
who asks beside it is answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.raw_client import PATIENCE

from .harness import ALICE, Answer, Rig
from .image_orders import SOURCE
from .moments import start

MANY = 100_000
EDITS = "/v1/images/edits"


def form(*parts: bytes, before: bytes = b"", end: bytes = b"--b--\r\n") -> bytes:
    return before + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def field(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n' + more + b"\r\n" + value


ORDER = (field(b"model", b"gpt-4o-image"), field(b"prompt", b"hat"))
PICTURE = (
    b'Content-Disposition: form-data; name="image"; filename="../../etc/passwd"\r\nContent-Type: image/png\r\n\r\n'
)

FORMS: dict[str, Callable[[], bytes]] = {
    "parts": lambda: form(*[field(b"x", b"")] * MANY),
    "files": lambda: form(*ORDER, *[PICTURE + b"x"] * MANY),
    "headers of one part": lambda: form(field(b"x", b"", b"X-A: b\r\n" * MANY)),
    "one endless header": lambda: form(field(b"x", b"", b"X-A: " + b"b" * 1_000_000 + b"\r\n")),
    "parameters of one header": lambda: form(b"Content-Disposition: form-data" + b'; x="y"' * MANY + b"\r\n\r\n"),
    "escapes in one parameter": lambda: form(b'Content-Disposition: form-data; name="' + b'\\"' * MANY + b'"\r\n\r\n'),
    "a preamble": lambda: form(*ORDER, before=b"x" * 1_000_000 + b"\r\n"),
    "a preamble of line ends": lambda: form(*ORDER, before=b"\r\n" * 500_000),
    "a preamble of boundaries that are none": lambda: form(*ORDER, before=b"--bx\r\n" * MANY),
    "an epilogue": lambda: form(*ORDER) + b"\r\n--b" * MANY,
    "no end": lambda: form(*ORDER, end=b"") + b"--b\r" * MANY,
    "nested brackets": lambda: form(*ORDER, field(b"x" + b"[a]" * 2000, b"1")),
    "many brackets": lambda: form(*ORDER, *[field(b"x[%d][y]" % n, b"1") for n in range(120)]),
    "one name again and again": lambda: form(*[field(b"prompt", b"x")] * 120),
    "a long text": lambda: form(ORDER[0], field(b"prompt", b"x" * 2_000_000)),
    "text that is no UTF-8": lambda: form(ORDER[0], field(b"prompt", b"\xff" * 1_000_000)),
}


async def send(rig: Rig, body: bytes) -> Answer:
    async with rig.client() as client:
        head = {"content-type": "multipart/form-data; boundary=b"}
        await client.ask(body, ALICE, head, target=EDITS)
        return await client.answer()


@pytest.mark.parametrize("name", FORMS)
async def test_is_refused_and_nobody_waits(rig: Rig, name: str) -> None:
    attack = start(send(rig, FORMS[name]()))
    pings = 0
    async with rig.client() as beside, asyncio.timeout(PATIENCE):
        while not attack.done() or pings < 3:
            answer = await beside.request("GET", "/v1/models/gpt-4o", b"", f"Authorization: Bearer {ALICE}")
            assert json.loads(answer.body)["id"] == "gpt-4o"
            pings += 1
    refused = await attack
    assert refused.status in (400, 413, 422), refused.body[:300]
    assert refused.error()["type"] == "invalid_request_error"
    assert len(refused.body) < 2000
    assert rig.sandbox.requests == [], "nothing was bought"


async def test_a_files_name_is_never_used(rig: Rig) -> None:
    """It goes to no path, no log, and to no upstream."""
    answer = await send(rig, form(*ORDER, PICTURE + SOURCE))
    assert answer.status == 200, answer.body
    for request in rig.sandbox.requests:
        assert b"passwd" not in request.body
    rig.log.flush()
    assert "passwd" not in (rig.folder / "gateway.log").read_text(encoding="utf-8")
