"""Bodies as clients really write them: cut in the middle of a character, compressed, under any content type."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import StartGateway
from .flux import TASKS, created
from .harness import ALICE, MESSAGES, PATH, Answer, Rig, chat_body
from .raw_orders import EDITS, GENERATIONS, order, order_body
from .test_image_doors import FORM, IMAGE, form, text_part


async def sent_as(rig: Rig, body: bytes, target: str = PATH, **headers: str) -> Answer:
    """One request with these headers; an underscore in a name stands for a dash."""
    async with rig.client() as client:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        await client.ask(body, headers={"connection": "close", **fields}, target=target)
        return await client.rest(await client.head())


def history(cut: bytes, **fields: Any) -> bytes:
    """A chat whose second turn has ``cut`` in it, as it stands in the JSON."""
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "CUT"},
        {"role": "user", "content": "go"},
    ]
    return chat_body(messages=turns, **fields).replace(b"CUT", cut)


CUT = {
    "the first half, escaped": (rb"well \ud83d", "well \ufffd"),
    "the second half, escaped": (rb"\ude00 well", "\ufffd well"),
    "halves in the wrong order": (rb"\uDE00\uD83D", "\ufffd\ufffd"),
    "half beside a whole one": (rb"\ud83d\ude00\ud83d", "😀\ufffd"),
    "half after a backslash": (rb"\\\ud83d \\ud83d", "\\\ufffd \\ud83d"),
    "half of its bytes": ("well 😀".encode()[:-2], "well \ufffd"),
    "half in three bytes": (b"well \xed\xa0\xbd", "well \ufffd"),
    "a letter of Latin-1": (b"caf\xe9", "caf\ufffd"),
    "a whole emoji": (rb"\ud83d\ude00 " + "😀".encode(), "😀 😀"),
    "a NUL": (rb"a\u0000b", "a\0b"),
}


class TestTextThatWasCut:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize(("cut", "read"), CUT.values(), ids=CUT)
    async def test_does_not_end_a_conversation(self, rig: Rig, cut: bytes, read: str, stream: bool) -> None:
        answer = await rig.post(history(cut, stream=stream))

        assert answer.status == 200
        assert rig.sandbox.requests[-1].json["messages"][1]["content"] == read

    async def test_is_read_at_any_depth_and_in_keys(self, rig: Rig) -> None:
        parameters = {"type": "object", "KEY": ["KEY"]}
        body = chat_body(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])

        assert (await rig.post(body.replace(b"KEY", rb"a\ud83d"))).status == 200
        function = rig.sandbox.requests[-1].json["tools"][0]["function"]
        assert function["parameters"] == {"type": "object", "a\ufffd": ["a\ufffd"]}

    async def test_is_read_in_an_order_for_images(self, rig: Rig) -> None:
        body = order_body(model="flux-schnell", prompt="a hat CUT").replace(b"CUT", rb"\ud83c")

        assert (await order(rig, body=body)).status == 200
        assert created(rig)[0].json["input"]["prompt"] == "a hat \ufffd"

    async def test_is_read_in_a_form(self, rig: Rig) -> None:
        fields = (text_part("model", "gpt-4o-image"), text_part("prompt", "a hat CUT"), IMAGE)
        body = form(*fields).replace(b"CUT", "🎩".encode()[:3])

        assert (await order(rig, path=EDITS, body=body, content_type=FORM)).status == 200
        assert "a hat \ufffd" in json.dumps(rig.sandbox.requests[0].json, ensure_ascii=False)

    async def test_is_read_in_a_task(self, rig: Rig) -> None:
        task = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "CUT"}}

        answer = await sent_as(rig, json.dumps(task).encode().replace(b"CUT", rb"a \ude00"), TASKS)

        assert answer.status == 200
        assert created(rig)[0].json["input"]["prompt"] == "a \ufffd"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare deflate": ("deflate", raw_deflate),
    "two members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "two codings": ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
    "none": ("identity", bytes),
}


class TestCompression:
    @pytest.mark.parametrize(("coding", "pack"), CODINGS.values(), ids=CODINGS)
    async def test_is_undone_for_a_chat(self, rig: Rig, coding: str, pack: Callable[[bytes], bytes]) -> None:
        for stream in (False, True):
            answer = await sent_as(rig, pack(chat_body(stream=stream)), content_encoding=coding)

            assert answer.status == 200
            upstream = rig.sandbox.requests[-1]
            assert upstream.json["messages"] == MESSAGES
            assert b"content-encoding" not in dict(upstream.headers)

    async def test_is_undone_for_a_long_history(self, rig: Rig) -> None:
        messages = [{"role": "user", "content": f"line {number} of a long history"} for number in range(50_000)]

        answer = await sent_as(rig, gzip.compress(chat_body(messages=messages)), content_encoding="gzip")

        assert answer.status == 200
        assert rig.sandbox.requests[-1].json["messages"] == messages

    async def test_is_undone_for_images_forms_and_tasks(self, rig: Rig) -> None:
        task = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a bear"}}
        fields = (text_part("model", "gpt-4o-image"), text_part("prompt", "a hat"), IMAGE)

        for body, target, content_type in (
            (order_body(), GENERATIONS, "application/json"),
            (form(*fields), EDITS, FORM),
            (json.dumps(task).encode(), TASKS, "application/json"),
        ):
            answer = await sent_as(rig, gzip.compress(body), target, content_type=content_type, content_encoding="gzip")
            assert answer.status == 200, (target, answer.body)

    @pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip"])
    async def test_of_another_kind_is_415(self, rig: Rig, coding: str) -> None:
        answer = await sent_as(rig, chat_body(), content_encoding=coding)

        error = answer.error()
        assert (answer.status, error["type"]) == (415, "invalid_request_error")
        assert (error["code"], error["param"]) == ("unsupported_content_encoding", None)
        assert "gzip or deflate" in error["message"]
        assert rig.sandbox.requests == []

    @pytest.mark.parametrize(
        "body",
        [gzip.compress(chat_body())[:-1], chat_body(), gzip.compress(chat_body()) + b"more"],
        ids=["cut off", "not compressed", "goes on"],
    )
    async def test_that_is_broken_is_400(self, rig: Rig, body: bytes) -> None:
        answer = await sent_as(rig, body, content_encoding="gzip")

        assert (answer.status, answer.error()["code"]) == (400, "invalid_content_encoding")
        assert rig.sandbox.requests == []

    async def test_does_not_get_round_the_limit(self, gateway: StartGateway) -> None:
        rig = await gateway("limits: {body: 256KiB}")
        small, large = chat_body(user="x" * 200_000), chat_body(user="x" * 300_000)

        assert (await sent_as(rig, gzip.compress(small), content_encoding="gzip")).status == 200
        for body in (gzip.compress(large), gzip.compress(bytes(64 << 20))):
            refused = await sent_as(rig, body, content_encoding="gzip")
            assert (refused.status, refused.error()["code"]) == (413, "request_too_large")
        assert len(rig.sandbox.requests) == 1

    async def test_leaves_the_connection_in_order(self, rig: Rig) -> None:
        async with rig.client() as client:
            for coding, body, status in (
                ("gzip", gzip.compress(chat_body()), 200),
                ("gzip", b"broken", 400),
                ("br", b"x", 415),
                ("deflate", zlib.compress(chat_body()), 200),
            ):
                await client.ask(body, headers={"content-encoding": coding})
                assert (await client.rest(await client.head())).status == status


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json; charset=UTF-8; x=y",
        "text/plain",
        "text/json",
        "nonsense",
        "",
    ],
)
async def test_a_content_type_is_not_asked_for(rig: Rig, content_type: str) -> None:
    assert (await sent_as(rig, chat_body(), content_type=content_type)).status == 200


async def test_no_content_type_is_as_good(rig: Rig) -> None:
    async with rig.client() as client:
        await client.ask(chat_body())
        assert (await client.rest(await client.head())).status == 200
        body = chat_body()
        head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-api-key: KEY\r\ncontent-length: {len(body)}\r\n\r\n"
        await client.send(head.replace("KEY", ALICE).encode() + body)
        assert (await client.rest(await client.head())).status == 200


async def test_the_last_of_two_equal_keys_is_what_is_checked_and_what_is_sent(rig: Rig) -> None:
    first, last = chat_body(max_tokens=0, n="x")[:-1], b', "max_tokens": 5, "n": 1, "user": "a", "user": "b"}'

    assert (await rig.post(first + last)).status == 200
    body = rig.sandbox.requests[-1].body
    assert (body.count(b'"max_tokens"'), body.count(b'"user":')) == (1, 1)
    assert (rig.sandbox.requests[-1].json["max_tokens"], rig.sandbox.requests[-1].json["user"]) == (5, "b")


@pytest.mark.parametrize(
    ("number", "passes"),
    [
        ("18446744073709551615", True),
        ("18446744073709551616", False),
        ("-9223372036854775809", False),
        ("1" * 5000, False),
        ("1e400", False),
        ("NaN", False),
        ("1.5e300", True),
    ],
)
async def test_a_number_is_sent_as_it_was_written_or_not_at_all(rig: Rig, number: str, passes: bool) -> None:
    answer = await rig.post(chat_body(newer="NUMBER").replace(b'"NUMBER"', number.encode()))

    if passes:
        assert answer.status == 200
        assert rig.sandbox.requests[-1].json["newer"] == json.loads(number)
    else:
        assert (answer.status, answer.error()["code"]) == (400, "invalid_json")
        assert rig.sandbox.requests == []
