"""Faults of the whole answer: error statuses, pages of others, bodies that are wrong."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache

from gateway.sandbox.faults.playback import ScenarioContext, pause_for, play_reply, reply_head
from gateway.sandbox.wire.answers import PLAIN, EventStream, Reply, json_reply
from gateway.sandbox.wire.errors import (
    anthropic_error,
    cloudflare_page,
    cloudflare_problem,
    cloudflare_text,
    error_fields,
    error_in_shape,
    piapi_error,
)
from gateway.sandbox.wire.http import LAST_CHUNK, Headers, chunk, response_head
from gateway.sandbox.wire.steps import Send, Step

_MIB = 1024 * 1024
_BLOCK = 64 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"


def status(context: ScenarioContext) -> Iterator[Step]:
    """An error status with a JSON body; ``retry_after`` goes out as it is written, sensible or not."""
    fields = error_fields(
        context.count("code"), type=context.text("type"), code=context.text("error"), message=context.text("message")
    )
    headers: Headers = ()
    if context.text("retry_after"):
        headers = ((b"retry-after", context.text("retry_after").encode()),)
    if context.text("retry_after_ms"):
        headers = (*headers, (b"retry-after-ms", context.text("retry_after_ms").encode()))
    if context.is_anthropics and context.text("shape") == "openai":
        code, words = context.count("code"), str(fields["message"])
        named = anthropic_error(code, words, type=context.text("type"), code=context.text("error"), headers=headers)
        yield from play_reply(context, named)
        return
    yield from play_reply(context, error_in_shape(context.text("shape"), context.count("code"), fields, headers))


def cloudflare(context: ScenarioContext) -> Iterator[Step]:
    page = cloudflare_text if context.count("plain") else cloudflare_page
    yield from play_reply(context, page(context.count("code"), context.request_id))


def cf_json(context: ScenarioContext) -> Iterator[Step]:
    problem = cloudflare_problem(context.count("code"), context.request_id, context.count("retry_after"))
    yield from play_reply(context, problem)


def wall(context: ScenarioContext) -> Iterator[Step]:
    """Silence until Cloudflare gives up, then its 524 page, on any role."""
    seconds = context.number("seconds")
    yield pause_for(context.wall if seconds == 0 else seconds)
    yield from play_reply(context, cloudflare_page(524, context.request_id))


def html_200(context: ScenarioContext) -> Iterator[Step]:
    """A web page in place of the answer, under the ``content_type`` it is given."""
    page = b"<!DOCTYPE html><html><head><title>Sandbox</title></head><body>This is not JSON.</body></html>"
    yield from play_reply(context, Reply(200, page, content_type=context.text("content_type").encode()))


def moderation(context: ScenarioContext) -> Iterator[Step]:
    """OpenAI's refusal of an image, in its own words (as users have reported them)."""
    category = context.text("category")
    fields = {
        "message": "Your request was rejected by the safety system. If you believe this is an error, contact us at "
        f"help.openai.com and include the request ID {context.request_id}. safety_violations=[{category}]. "
        "(Sandbox: nothing was looked at.)",
        "type": "image_generation_user_error",
        "param": "",
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": context.text("stage"), "categories": [category]},
    }
    yield from play_reply(context, json_reply(400, {"error": fields}))


def big_image(context: ScenarioContext) -> Iterator[Step]:
    """``mib`` MiB that begin like a PNG; ``announced=0`` does not say how many they are."""
    size = context.count("mib") * _MIB
    length = (b"content-length", b"%d" % size)
    announced = bool(context.count("announced"))
    yield Send(
        response_head(
            200, context.headers(b"image/png", (length if announced else (b"transfer-encoding", b"chunked"),))
        )
    )
    for start in range(0, size, _BLOCK):
        block = (_PNG if start == 0 else b"").ljust(_BLOCK, b"\x00")
        yield Send(block if announced else chunk(block))
    if not announced:
        yield Send(LAST_CHUNK)


def soft_error(context: ScenarioContext) -> Iterator[Step]:
    """HTTP 200 around an error: PiAPI's envelope, or OpenAI's shape with ``shape=openai``."""
    inner = context.count("code")
    fields = error_fields(inner, code=context.text("error"), message=context.text("message"))
    if context.text("shape") == "piapi":
        reply = piapi_error(inner, str(fields["message"]))
    else:
        reply = error_in_shape(context.text("shape"), inner, fields, ())
    yield from play_reply(context, Reply(200, reply.body))


def bad_json(context: ScenarioContext) -> Iterator[Step]:
    yield from play_reply(context, Reply(200, b'{"id": "chatcmpl-sandbox", "choices": [oops'))


def truncated_json(context: ScenarioContext) -> Iterator[Step]:
    """The first half of a good answer, with a length that says it is whole."""
    body = context.whole.body
    yield from play_reply(context, Reply(200, body[: len(body) // 2]))


def whole_json(context: ScenarioContext) -> Iterator[Step]:
    """One JSON body even to a client that asked for a stream."""
    yield from play_reply(context, context.whole)


def empty_body(context: ScenarioContext) -> Iterator[Step]:
    yield from play_reply(context, Reply(200, b""))


def redirect(context: ScenarioContext) -> Iterator[Step]:
    location = context.text("location").encode()
    yield from play_reply(context, Reply(context.count("code"), b"", headers=((b"location", location),)))


def packed(context: ScenarioContext) -> Iterator[Step]:
    """A good answer, gzipped, whether or not the client accepts gzip."""
    data = b"".join(_plain_body(context))
    packer = zlib.compressobj(wbits=31)
    content_type = (
        b"text/event-stream; charset=utf-8" if isinstance(context.answer, EventStream) else b"application/json"
    )
    coding: Headers = ((b"content-encoding", b"gzip"),)
    body = packer.compress(data) + packer.flush()
    yield from play_reply(context, Reply(200, body, content_type, coding, context.answer.sale))


def _plain_body(context: ScenarioContext) -> Iterator[bytes]:
    if isinstance(context.answer, EventStream):
        yield from (PLAIN.encode(event) for event in context.answer.events)
    else:
        yield context.answer.body


def bomb(context: ScenarioContext) -> Iterator[Step]:
    """A small gzip body that unpacks to ``mib`` MiB of blanks."""
    body = _bomb(context.count("mib"))
    reply = Reply(200, body, headers=((b"content-encoding", b"gzip"),))
    yield Send(reply_head(context, reply) + body)


@lru_cache(maxsize=4)
def _bomb(mib: int) -> bytes:
    """Every block but the first packs to the same bytes, so the bomb is cheap to build, too."""
    block = b" " * _MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(block, checksum)
    trailer = checksum.to_bytes(4, "little") + (mib * _MIB & 0xFFFFFFFF).to_bytes(4, "little")
    gzip_head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return gzip_head + first + again * (mib - 1) + packer.flush() + trailer
