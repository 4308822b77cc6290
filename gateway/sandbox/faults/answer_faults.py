"""Scenarios in which the answer as a whole is another one: error statuses, foreign pages, bodies that are wrong."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache

from gateway.sandbox.faults.playback import Order, pause, play_reply, reply_head
from gateway.sandbox.wire.answers import PLAIN, EventStream, Reply, Send, Step, json_reply
from gateway.sandbox.wire.errors import (
    cloudflare_page,
    cloudflare_problem,
    cloudflare_text,
    envelope,
    error_fields,
    in_shape,
)
from gateway.sandbox.wire.http import LAST_CHUNK, Headers, chunk, head

_MIB = 1024 * 1024
_BLOCK = 64 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"


def status(order: Order) -> Iterator[Step]:
    """An error status with a JSON body; ``retry_after`` goes out as it is written, sensible or not."""
    fields = error_fields(
        order.count("code"), type=order.text("type"), code=order.text("error"), message=order.text("message")
    )
    headers: Headers = ()
    if order.text("retry_after"):
        headers = ((b"retry-after", order.text("retry_after").encode()),)
    if order.text("retry_after_ms"):
        headers = (*headers, (b"retry-after-ms", order.text("retry_after_ms").encode()))
    yield from play_reply(order, in_shape(order.text("shape"), order.count("code"), fields, headers))


def cloudflare(order: Order) -> Iterator[Step]:
    page = cloudflare_text if order.count("plain") else cloudflare_page
    yield from play_reply(order, page(order.count("code"), order.request_id))


def cf_json(order: Order) -> Iterator[Step]:
    problem = cloudflare_problem(order.count("code"), order.request_id, order.count("retry_after"))
    yield from play_reply(order, problem)


def wall(order: Order) -> Iterator[Step]:
    """Silence until Cloudflare gives up, then its 524 page, on any role."""
    seconds = order.number("seconds")
    yield pause(order.wall if seconds == 0 else seconds)
    yield from play_reply(order, cloudflare_page(524, order.request_id))


def html_200(order: Order) -> Iterator[Step]:
    """A web page in place of the answer, of whatever ``content_type`` it says it is."""
    page = b"<!DOCTYPE html><html><head><title>Sandbox</title></head><body>This is not JSON.</body></html>"
    yield from play_reply(order, Reply(200, page, content_type=order.text("content_type").encode()))


def moderation(order: Order) -> Iterator[Step]:
    """OpenAI's refusal of an image, in its own words (as users have reported them)."""
    category = order.text("category")
    fields = {
        "message": "Your request was rejected by the safety system. If you believe this is an error, contact us at "
        f"help.openai.com and include the request ID {order.request_id}. safety_violations=[{category}]. "
        "(Sandbox: nothing was looked at.)",
        "type": "image_generation_user_error",
        "param": "",
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": order.text("stage"), "categories": [category]},
    }
    yield from play_reply(order, json_reply(400, {"error": fields}))


def big_image(order: Order) -> Iterator[Step]:
    """``mib`` MiB that begin like a PNG; ``announced=0`` does not say how many they are."""
    size = order.count("mib") * _MIB
    length = (b"content-length", b"%d" % size)
    announced = bool(order.count("announced"))
    yield Send(head(200, order.headers(b"image/png", (length if announced else (b"transfer-encoding", b"chunked"),))))
    for start in range(0, size, _BLOCK):
        block = (_PNG if start == 0 else b"").ljust(_BLOCK, b"\x00")
        yield Send(block if announced else chunk(block))
    if not announced:
        yield Send(LAST_CHUNK)


def soft_error(order: Order) -> Iterator[Step]:
    """HTTP 200 around an error: PiAPI's envelope, or OpenAI's shape with ``shape=openai``."""
    inner = order.count("code")
    fields = error_fields(inner, code=order.text("error"), message=order.text("message"))
    if order.text("shape") == "piapi":
        reply = envelope(inner, str(fields["message"]))
    else:
        reply = in_shape(order.text("shape"), inner, fields, ())
    yield from play_reply(order, Reply(200, reply.body))


def bad_json(order: Order) -> Iterator[Step]:
    yield from play_reply(order, Reply(200, b'{"id": "chatcmpl-sandbox", "choices": [oops'))


def truncated_json(order: Order) -> Iterator[Step]:
    """The first half of a good answer, with a length that says it is whole."""
    body = order.whole.body
    yield from play_reply(order, Reply(200, body[: len(body) // 2]))


def whole_json(order: Order) -> Iterator[Step]:
    """One JSON body even to a client that asked for a stream."""
    yield from play_reply(order, order.whole)


def empty_body(order: Order) -> Iterator[Step]:
    yield from play_reply(order, Reply(200, b""))


def redirect(order: Order) -> Iterator[Step]:
    location = order.text("location").encode()
    yield from play_reply(order, Reply(order.count("code"), b"", headers=((b"location", location),)))


def packed(order: Order) -> Iterator[Step]:
    """A good answer, gzipped although nobody may have asked for it."""
    data = b"".join(_plain_body(order))
    packer = zlib.compressobj(wbits=31)
    content_type = b"text/event-stream; charset=utf-8" if isinstance(order.answer, EventStream) else b"application/json"
    coding: Headers = ((b"content-encoding", b"gzip"),)
    body = packer.compress(data) + packer.flush()
    yield from play_reply(order, Reply(200, body, content_type, coding, order.answer.sale))


def _plain_body(order: Order) -> Iterator[bytes]:
    if isinstance(order.answer, EventStream):
        yield from (PLAIN.encode(event) for event in order.answer.events)
    else:
        yield order.answer.body


def bomb(order: Order) -> Iterator[Step]:
    """A small gzip body that unpacks to ``mib`` MiB of blanks."""
    body = _bomb(order.count("mib"))
    reply = Reply(200, body, headers=((b"content-encoding", b"gzip"),))
    yield Send(reply_head(order, reply) + body)


@lru_cache(maxsize=4)
def _bomb(mib: int) -> bytes:
    """Every block but the first packs to the same bytes, so the bomb is cheap to build for us, too."""
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
