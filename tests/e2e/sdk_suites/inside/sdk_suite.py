"""What runs inside an SDK's own pytest: gives its clients our key, makes what its tests name, notes what came of each.

A plugin (``-p sdk_suite``) in the SDK's process, with the standard library and pytest only. ``SUITE_KEY`` is the
virtual key, ``SUITE_NOTES`` the file of outcomes: a JSON object a line. The adapted tests import the rest.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import urllib.request
import zlib
from collections.abc import Generator
from typing import Any

import pytest

_MOST_WORDS = 4000
_SLOWLY = "[[sandbox:slow]] Tell me a story."
_INSTRUCTION = [{"role": "developer", "content": "Hello"}]
"""Of the program, not of a user, whose messages a compaction repeats."""


def pytest_collection_finish() -> None:
    """The SDK's conftest has a key that is none of ours; its fixtures read it when they make a client."""
    sys.modules["tests.conftest"].api_key = os.environ["SUITE_KEY"]  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.outcome != "passed":
        note = {"test": report.nodeid, "outcome": report.outcome, "said": _words(call.excinfo)}
        with open(os.environ["SUITE_NOTES"], "a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
    return report


def _words(raised: pytest.ExceptionInfo[BaseException] | None) -> str:
    """What was raised, and what caused that: a strict client's error does not say what is wrong with the answer."""
    if raised is None:
        return ""
    cause = raised.value.__cause__
    return f"{raised.exconly()[:600]}{f' | {cause}'[:_MOST_WORDS] if cause is not None else ''}".replace("\n", " ")


def made_response(*, slow: bool = False) -> str:
    """The id of a response that this key has made in the background. ``slow``: it is being made still."""
    return str(_ask("/responses", {"model": "gpt-4o", "input": _SLOWLY if slow else "Hello", "background": True})["id"])


def kept_response() -> str:
    """The id of a response that this key has made and that is kept."""
    return str(_ask("/responses", {"model": "gpt-4o", "input": _INSTRUCTION})["id"])


def _ask(path: str, body: dict[str, Any]) -> Any:
    headers = {"authorization": f"Bearer {os.environ['SUITE_KEY']}", "content-type": "application/json"}
    url = os.environ["TEST_API_BASE_URL"] + path
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _picture(side: int) -> bytes:
    """A PNG: a square, white and see-through, as a mask is."""
    lines = (b"\0" + b"\xff\xff\xff\0" * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


PICTURE = _picture(256)
