"""The bytes of the bench: what is asked and what is answered, built once.

A request names its play in the model: ``bench-now`` is answered at once, ``bench-paced-30-20`` with 30 chunks 20 ms
apart, ``bench-idle`` with one chunk and then silence. Only the first two exist without ``"stream":true``.
"""

from __future__ import annotations

import re

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
"""The virtual key of the bench; worth nothing anywhere else."""

PATH = "/v1/chat/completions"
REQUEST_SIZE, ANSWER_SIZE, CHUNK_SIZE = 430, 640, 215
"""Bytes: a request's body, a whole JSON answer's body, one SSE event of a paced stream."""

NOW = "bench-now"
IDLE = "bench-idle"
LAST_CHUNK = b"0\r\n\r\n"
"""What ends a chunked body."""

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
"""Finds a body's length in a head."""

_USAGE = b'{"prompt_tokens":80,"completion_tokens":40,"total_tokens":120}'


def paced(chunks: int, milliseconds: int) -> str:
    """The model that plays a paced stream."""
    return f"bench-paced-{chunks}-{milliseconds}"


def request_body(model: str, *, stream: bool) -> bytes:
    """A chat request of REQUEST_SIZE bytes."""
    asked = b',"stream":true' if stream else b""
    start = b'{"model":"%s"%s,"messages":[{"role":"user","content":"' % (model.encode(), asked)
    return _padded(start, b'"}]}', REQUEST_SIZE)


def request(model: str, *, stream: bool) -> bytes:
    """The same with its head, as an ordinary client sends it."""
    body = request_body(model, stream=stream)
    return (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\naccept: */*\r\nuser-agent: bench\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def whole_answer() -> bytes:
    """A completion in one JSON body, with its head."""
    body = _padded(
        b'{"id":"chatcmpl-bench","object":"chat.completion","created":1760000000,"model":"bench",'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"',
        b'"},"finish_reason":"stop"}],"usage":%s}' % _USAGE,
        ANSWER_SIZE,
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
    return start + (b"word " * 200)[: size - len(start) - len(end)] + end
