"""The headers of answers: request ids, safe values, and those that every error carries."""

from __future__ import annotations

import itertools
import math
import os
import re

from gateway.core.errors import ClientError, GatewayError
from gateway.core.headers import Header

# Ids must be unique, not secret: asking the kernel for randomness each time costs more than all the rest of an id.
_PROCESS = os.urandom(6).hex()
_COUNT = itertools.count()

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_SOUND_HOST = re.compile(rb"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_UNSAFE = re.compile(r"[^\x20-\x7e]")


def request_id(sent: bytes | None) -> str:
    """The client's x-request-id if it is 1 to 128 of ``[A-Za-z0-9._-]``, else a fresh ``req_`` + 24 hex digits."""
    if sent is not None and _SANE_ID.fullmatch(sent):
        return sent.decode("ascii")
    return f"req_{_PROCESS}{next(_COUNT) & 0xFFFFFFFFFFFF:012x}"


def asked_host(value: bytes | None) -> str | None:
    """The Host of a request, as a URL may have it; None without one, and for one that leads nowhere."""
    match = None if value is None else _SOUND_HOST.fullmatch(value)
    if value is None or match is None or (match[1] is not None and not 0 < int(match[1]) < 65536):
        return None
    return value.decode("ascii")


def header(name: str, value: str) -> Header:
    """A header whose value may come from anywhere: what is not printable ASCII becomes ``?``, so it stays one line."""
    return name.lower().encode("ascii"), _UNSAFE.sub("?", value).encode("ascii")


def error_headers(error: GatewayError) -> list[Header]:
    """The headers that go with ``error.body()``, which is JSON.

    ``x-should-retry`` is always there, as the OpenAI SDKs otherwise decide by the status alone and would send a paid
    request again. They read ``retry-after-ms`` before ``retry-after`` and ignore values that are not above 0, so that a
    millisecond is what says "at once" to them.
    """
    headers = [(b"x-should-retry", b"true" if error.should_retry else b"false")]
    if error.retry_after is not None:
        least = 0 if error.at_once else 1
        headers += (
            (b"retry-after", b"%d" % max(least, math.ceil(error.retry_after))),
            (b"retry-after-ms", b"%d" % max(1, math.ceil(error.retry_after * 1000))),
        )
    return headers


def malformed_request(reason: str) -> ClientError:
    """400: bytes that another reader of HTTP might read differently."""
    return ClientError(400, "invalid_request_error", "malformed_http", f"The request is not sound HTTP/1.1: {reason}.")


def headers_too_large(what: str) -> ClientError:
    """431: ``what`` names the limit that was passed."""
    return ClientError(431, "invalid_request_error", "request_headers_too_large", f"The request has {what}.")


def request_timeout(what: str) -> ClientError:
    """408: ``what`` says which part did not come in time."""
    return ClientError(408, "invalid_request_error", "request_timeout", f"{what} did not arrive in time.")


def request_too_large(limit: int) -> ClientError:
    """413: ``limit`` is in bytes."""
    return ClientError(
        413, "invalid_request_error", "request_too_large", f"The request body is larger than {limit} bytes."
    )
