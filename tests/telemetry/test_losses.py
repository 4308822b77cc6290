"""What could not be sent is told in one line a minute, however often it happens and whoever says so."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.telemetry.log import Log
from gateway.telemetry.losses import LIBRARY, LONGEST, TOLD_EVERY, Losses
from gateway.telemetry.redaction import Redactor


class Told:
    """A log of its own, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self._path = folder / "log"
        with self._path.open("w", encoding="utf-8") as stream:
            self.log = Log("json", "info", stream=stream)
        self.losses = Losses(self.log, lambda: self.now)

    def lines(self) -> list[tuple[int, str]]:
        self.log.flush()
        lines = map(json.loads, self._path.read_text(encoding="utf-8").splitlines())
        return [(line["spans"], line["message"]) for line in lines if line["event"] == "telemetry_not_sent"]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path)
    told.losses.listen()
    yield told
    told.losses.stop_listening()


def test_what_was_lost_is_summed_up_with_the_last_reason(told: Told) -> None:
    library = logging.getLogger(f"{LIBRARY}.exporter.otlp")
    for number in range(1000):
        told.losses.lost(1)
        library.error("Failed to export spans batch code: %s", 500 + number % 4)
    told.losses.tell()
    assert told.lines() == [(1000, "Failed to export spans batch code: 503")]
    told.losses.tell()
    assert len(told.lines()) == 1, "nothing new"


def test_what_is_tried_again_is_no_loss(told: Told) -> None:
    logging.getLogger(f"{LIBRARY}.exporter").warning("Transient error, retrying")
    told.losses.tell()
    assert told.lines() == []


def test_spans_that_found_no_room_need_no_word_of_the_library(told: Told) -> None:
    told.losses.lost(3)
    told.losses.tell()
    assert told.lines() == [(3, "more came than could be sent")]


def test_words_that_give_up_are_told_with_the_reason_before_them(told: Told) -> None:
    library = logging.getLogger(f"{LIBRARY}.exporter")
    library.warning("Transient error %s, retrying", "Max retries exceeded with url: /v1/a-token (Connection refused)")
    library.error("Failed to export spans batch due to timeout, max retries or shutdown.")
    told.losses.tell()
    [(_, message)] = told.lines()
    assert message == (
        "Failed to export spans batch due to timeout, max retries or shutdown.; before that: "
        "Transient error Max retries exceeded (Connection refused), retrying"
    )


def test_no_part_of_a_secret_is_told_where_a_message_is_cut(told: Told) -> None:
    told.log.redactor = Redactor([secret := "a-collectors-key-0123456789-0123456789"])
    logging.getLogger(f"{LIBRARY}.exporter").error("x" * (LONGEST - 20) + secret)
    told.losses.tell()
    [(_, message)] = told.lines()
    assert "a-collectors-key" not in message


def test_what_a_client_wrote_into_its_tracestate_is_told_nowhere(told: Told) -> None:
    logging.getLogger(f"{LIBRARY}.exporter").error("the reason")
    logging.getLogger(f"{LIBRARY}.trace.span").warning("Member doesn't match: %s", "words-of-the-client")
    told.losses.tell()
    assert told.lines() == [(0, "the reason")]


def test_headers_that_the_library_repeats_are_told_nowhere(told: Told) -> None:
    logging.getLogger(f"{LIBRARY}.util.re").error("Header format invalid: %s", "authorization: a-secret")
    told.losses.tell()
    [(_, message)] = told.lines()
    assert "a-secret" not in message


async def test_the_lines_are_a_minute_apart(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr("gateway.telemetry.losses.LOOKED_EVERY", 0.001)
    watching = asyncio.get_running_loop().create_task(told.losses.watch())
    told.losses.lost(1)
    await asyncio.sleep(0.05)
    told.losses.lost(2)
    await asyncio.sleep(0.05)
    assert [spans for spans, _ in told.lines()] == [1]
    told.now += TOLD_EVERY
    await asyncio.sleep(0.05)
    watching.cancel()
    assert [spans for spans, _ in told.lines()] == [1, 2]
