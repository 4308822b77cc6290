"""The bytes of the bench: what is asked and what is answered, built once.

A request names its play in the model: ``bench-now`` is answered at once, ``bench-paced-30-20`` with 30 chunks 20 ms
apart, ``bench-flood-200`` with 200 chunks at once, ``bench-idle`` with one chunk and then silence. Whole answers are
the same for all.
"""

from __future__ import annotations

import base64
import functools
import re
import struct
import zlib
from collections.abc import Mapping

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
"""The virtual key of the bench; worth nothing anywhere else."""

PATH = "/v1/chat/completions"
PICTURE_PATH = "/v1/images/generations"
REQUEST_SIZE, ANSWER_SIZE, CHUNK_SIZE = 430, 640, 215
"""Bytes: a request's body, a whole JSON answer's body, one SSE event of a paced stream."""

NOW = "bench-now"
IDLE = "bench-idle"
PICTURE = "bench-picture"
"""The model that answers with a picture of PICTURE_SIZE bytes."""
PICTURE_SIZE = 22_000_000
LAST_CHUNK = b"0\r\n\r\n"
"""What ends a chunked body."""

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
"""Finds a body's length in a head."""

_USAGE = b'{"prompt_tokens":80,"completion_tokens":40,"total_tokens":120}'


def paced(chunks: int, milliseconds: int) -> str:
    """The model that plays a paced stream."""
    return f"bench-paced-{chunks}-{milliseconds}"


def flood(chunks: int) -> str:
    """The model that plays a stream without pauses."""
    return f"bench-flood-{chunks}"


def request_body(model: str, *, stream: bool, size: int = REQUEST_SIZE) -> bytes:
    """A chat request of ``size`` bytes: a conversation of messages of a kilobyte each."""
    asked = b',"stream":true' if stream else b""
    start = b'{"model":"%s"%s,"messages":[' % (model.encode(), asked)
    message = b'{"role":"user","content":"%s"},' % (b"word " * 200)
    earlier = message * max(0, (size - len(start) - len(message)) // len(message))
    return _padded(start + earlier + b'{"role":"user","content":"', b'"}]}', size)


def request(model: str, *, stream: bool, headers: Mapping[str, str] | None = None, size: int = REQUEST_SIZE) -> bytes:
    """The same with its head, as an ordinary client sends it. ``headers``: more of them."""
    return post(PATH, request_body(model, stream=stream, size=size), headers or {})


def post(path: str, body: bytes, headers: Mapping[str, str], key: str = KEY) -> bytes:
    """A request with any body."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"accept: */*\r\nuser-agent: bench\r\n{more}content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def get(path: str) -> bytes:
    """A request without a body."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\n\r\n".encode()


def complete(answer: bytes | bytearray) -> bool:
    """Whether an answer has come to its end. One without a length ends with its last chunk."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(answer, 0, end)
    return len(answer) >= end + 4 + int(length[1]) if length else answer.endswith(LAST_CHUNK)


def whole_answer() -> bytes:
    """A completion in one JSON body, with its head."""
    body = _padded(
        b'{"id":"chatcmpl-bench","object":"chat.completion","created":1760000000,"model":"bench",'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"',
        b'"},"finish_reason":"stop"}],"usage":%s}' % _USAGE,
        ANSWER_SIZE,
    )
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@functools.cache
def picture_answer() -> bytes:
    """An answer of the Images API with one PNG in base64, with its head."""
    side = 2700
    rows = (b"\0" + bytes(side * 3)) * side
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 0)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    body = (
        b'{"created":1760000000,"data":[{"b64_json":"%s"}],"usage":{"input_tokens":10,"output_tokens":1000}}' % picture
    )
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def stream_head() -> bytes:
    """The head of a stream."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )


def content_chunk() -> bytes:
    """One event with a little text, as one HTTP chunk."""
    start = _event_start() + b'{"index":0,"delta":{"content":"'
    return _http_chunk(_padded(start, b'"},"finish_reason":null}]}\n\n', CHUNK_SIZE))


def role_chunk() -> bytes:
    """The event that opens a stream."""
    return _http_chunk(
        _event_start() + b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    )


def closing_chunks() -> bytes:
    """Finish reason, usage, [DONE] and the end of the body, in one piece."""
    finish = _event_start() + b'{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    usage = _event_start() + b'],"usage":%s}\n\n' % _USAGE
    return _http_chunk(finish + usage + b"data: [DONE]\n\n") + LAST_CHUNK


def _event_start() -> bytes:
    return (
        b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk",'
        b'"created":1760000000,"model":"bench","choices":['
    )


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _padded(start: bytes, end: bytes, size: int) -> bytes:
    """Words between two texts, so many that the whole has ``size`` bytes."""
    needed = size - len(start) - len(end)
    return start + (b"word " * (needed // 5 + 1))[:needed] + end
