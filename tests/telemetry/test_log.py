"""Log lines: one line an event, parseable, without secrets; and nobody waits for whoever should read them."""

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.types import Credential
from gateway.telemetry.line_writer import LineWriter
from gateway.telemetry.log import Log
from gateway.telemetry.log_lines import LINE_CAP
from gateway.telemetry.redaction import MASK, Redactor

CANARY = "0123456789canary"


class StoppedClock:
    """22 November 2026, 08:47:01.123 UTC, for ever."""

    def monotonic(self) -> float:
        return 0.0

    def wall_ns(self) -> int:
        return 1_795_337_221_123_456_789


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logged(event: str = "event", /, *, format: Any = "json", stream: TextIO | None = None, **fields: Any) -> str:
    """What one call writes."""
    stream = io.StringIO() if stream is None else stream
    log = Log(format, "debug", Redactor([CANARY]), stream, clock=StoppedClock())
    log.info(event, **fields)
    log.close()
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def parsed(line: str) -> dict[str, Any]:
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert len(line.encode()) <= LINE_CAP
    record = json.loads(line)
    assert isinstance(record, dict)
    return record


class TestJson:
    def test_a_line_is_time_level_event_and_fields(self):
        assert logged("attempt", upstream="piapi", ms=12.5, status=None) == (
            '{"ts":"2026-11-22T08:47:01.123Z","level":"info","event":"attempt","upstream":"piapi","ms":12.5,"status":null}\n'
        )

    def test_fields_cannot_pose_as_the_lines_own(self):
        record = parsed(logged("real", event="forged", level="error", ts="never", other=1))
        assert (record["event"], record["level"], record["field_event"]) == ("real", "info", "forged")
        assert (record["field_level"], record["field_ts"], record["other"]) == ("error", "never", 1)

    def test_control_characters_are_escaped(self):
        nasty = 'a\r\n{"event":"forged"}\x1b[31m\x00\x7f\x9b31m\u2028\u202e'
        line = logged(nasty, path=nasty)
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", line) is None
        assert parsed(line)["path"] == nasty

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (ValueError("bad"), "ValueError: bad"),
            (b"caf\xff", "caf\\xff"),
            ({"b", "a"}, ["a", "b"]),
            (Path("/tmp"), "/tmp"),
            (Decimal("0.1"), "0.1"),
            (Credential("main", CANARY), "<Credential>"),
            ("\ud800", "\\ud800"),
            (10**30, str(10**30)),
            (float("nan"), None),
            ({1: ("é", True)}, {"1": ["é", True]}),
        ],
    )
    def test_any_value_can_be_shown(self, value: Any, shown: Any):
        assert parsed(logged(value=value))["value"] == shown

    def test_what_is_nested_without_end_is_cut(self):
        deep: list[Any] = []
        deep.append(deep)
        assert "…" in json.dumps(parsed(logged(value=deep, ensure="é")), ensure_ascii=False)
        assert "…" in json.dumps(
            parsed(logged(value={"a": {"b": {"c": {"d": {"e": {"f": {"g": "é"}}}}}}})), ensure_ascii=False
        )

    @pytest.mark.parametrize(
        "fields",
        [
            {"text": "x" * 100_000, "after": 1},
            {"text": "\x1b" * 5000, "after": 1},
            {f"field_{number}": "y" * 500 for number in range(20)} | {"after": 1},
            {"many": list(range(5000)), "after": 1},
        ],
    )
    def test_a_long_line_is_cut_and_says_so(self, fields: dict[str, Any]):
        record = parsed(logged(**fields))
        assert record["truncated"] is True
        assert record["after"] == 1

    def test_a_line_of_a_thousand_fields_keeps_its_event(self):
        record = parsed(logged("e" * 9999, **{f"field_{number}": number for number in range(1000)}))
        assert set(record) == {"ts", "level", "event", "truncated"}
        assert record["event"].startswith("eeee")


class TestText:
    def test_a_line_can_be_read_by_people(self):
        line = logged("attempt", format="text", upstream="piapi", ms=12.5, why="a b", n=None, on=True, at=["x"])
        assert re.fullmatch(
            r'\d\d:47:01 info attempt upstream=piapi ms=12\.5 why="a b" on=true at="\[\\"x\\"\]"\n', line
        )

    def test_control_characters_are_escaped(self):
        line = logged("a\r\nb", format="text", path="\x1b[31m\x00\x9b\u2028 é")
        assert line.endswith(' info "a\\r\\nb" path="\\u001b[31m\\u0000\\u009b\\u2028 é"\n')

    def test_only_a_terminal_gets_colours(self):
        assert "\x1b[32minfo\x1b[0m" in logged(format="text", stream=Terminal())
        assert "\x1b" not in logged(format="text")
        assert "\x1b" not in logged(format="json", stream=Terminal())

    def test_a_long_line_is_cut(self):
        line = logged(format="text", text="é" * 5000)
        assert len(line.encode()) <= LINE_CAP
        assert line.endswith("…\n")


def test_only_what_the_level_lets_through_is_written():
    for level, expected in (("debug", 4), ("info", 3), ("warning", 2), ("error", 1)):
        stream = io.StringIO()
        log = Log("json", level, stream=stream)
        log.debug("d")
        log.info("i")
        log.warning("w")
        log.error("e")
        log.close()
        assert len(stream.getvalue().splitlines()) == expected


class TestSecrets:
    @pytest.mark.parametrize("format", ["json", "text"])
    @pytest.mark.parametrize(
        "fields",
        [
            {"value": CANARY},
            {"value": f"a{CANARY}b" * 3},
            {"value": {"deep": [{CANARY: (CANARY,)}]}},
            {"value": ValueError(CANARY)},
            {"value": CANARY.encode()},
            {CANARY: 1},
            {"value": "x" * 4090 + CANARY},
            {"value": "\x00" * 1000 + CANARY * 20},
            {"value": f"\ud800{CANARY}"},
            {"value": Path(f"/{CANARY}")},
        ],
    )
    def test_none_in_any_position(self, format: Any, fields: dict[str, Any]):
        line = logged(format=format, **fields)
        assert "canary" not in line
        assert line.endswith("\n")
        if format == "json":
            parsed(line)

    @pytest.mark.parametrize("format", ["json", "text"])
    def test_none_in_the_event(self, format: Any):
        assert MASK in logged(f"failed for {CANARY}", format=format)

    def test_a_secret_of_digits_in_a_number_leaves_valid_json(self):
        stream = io.StringIO()
        log = Log("json", redactor=Redactor(["12345678", '","level":"', "u0000a"]), stream=stream)
        log.info("x", number=9123456780, small=1, nul="\x00ab")
        log.close()
        record = parsed(stream.getvalue())
        assert (record["number"], record["small"], record["nul"]) == (MASK, 1, "\x00ab")

    def test_keys_of_clients_are_masked_by_their_looks(self):
        line = logged(head="Authorization: Bearer abcdefgh12345678", body="\nsk-live-0123456789abcdef")
        assert "abcdefgh" not in line
        assert "0123456789abcdef" not in line

    def test_a_reload_brings_another_redactor(self):
        stream = io.StringIO()
        log = Log(stream=stream)
        log.redactor = Redactor(["new-secret-value"])
        log.info("x", value="new-secret-value")
        log.close()
        assert "new-secret" not in stream.getvalue()


WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20) | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)


@settings(deadline=None)
@given(TEXT, st.dictionaries(TEXT, WILD, max_size=5), st.sampled_from(["json", "text"]))
def test_whatever_is_logged_is_one_sane_line(event: str, fields: dict[str, Any], format: str):
    line = logged(event, format=format, **{"f" + name: value for name, value in fields.items()})
    assert CANARY not in line
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", line) is None
    assert len(line.encode()) <= LINE_CAP
    assert line.count("\n") == 1
    if format == "json":
        parsed(line)


class TestUnreadStream:
    """A pipe that nobody reads: 64 KiB fit in, then writing blocks."""

    @pytest.fixture
    def pipe(self) -> Iterator[tuple[TextIO, int]]:
        reader, writer = os.pipe()
        with os.fdopen(writer, "w") as stream:
            yield stream, reader
        os.close(reader)

    def test_callers_never_wait_and_lines_beyond_the_bound_are_dropped_and_said(self, pipe: tuple[TextIO, int]):
        stream, reader = pipe
        log = Log(stream=stream, held_at_most=300_000)
        for number in range(2000):
            log.info("line", number=number, text="x" * 500)
        assert log.dropped > 1000
        assert not log.flush(timeout=0.05)
        received: list[bytes] = []
        drain = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reader, 65536), b"")))
        drain.start()
        log.close()
        stream.close()
        drain.join()
        lines = [json.loads(line) for line in b"".join(received).splitlines()]
        said = sum(line["number"] for line in lines if line["event"] == "log_lines_dropped")
        numbers = [line["number"] for line in lines if line["event"] == "line"]
        assert said == log.dropped
        assert len(numbers) + said == 2000
        assert numbers == sorted(numbers)

    def test_a_reader_that_has_gone_costs_the_lines_only(self):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stream:
            log = Log(stream=stream)
            log.error("nobody hears")
            assert log.flush()
            log.close()
            assert log.dropped == 1

    def test_a_non_blocking_pipe_gets_every_line_in_the_end(self, pipe: tuple[TextIO, int]):
        stream, reader = pipe
        os.set_blocking(stream.fileno(), False)
        log = Log(stream=stream)
        for number in range(1000):
            log.info("line", number=number, text="x" * 200)
        received = b""
        while received.count(b"\n") < 1000:
            received += os.read(reader, 65536)
        log.close()
        assert [json.loads(line)["number"] for line in received.splitlines()] == list(range(1000))

    def test_a_process_whose_log_nobody_reads_still_ends(self):
        code = (
            "from gateway.telemetry.log import Log\n"
            "log = Log()\n"
            "for number in range(2000): log.info('line', text='x' * 500)\n"
            "print('done', flush=True)\n"
        )
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"done\n"
            assert child.wait(timeout=30) == 0

    async def test_the_event_loop_goes_on(self, pipe: tuple[TextIO, int]):
        log = Log(stream=pipe[0])
        for _ in range(500):
            log.error("line", text="x" * 500)
            await asyncio.sleep(0)
        assert not log.flush(timeout=0.0)


def test_what_was_logged_last_is_written_at_exit():
    code = "from gateway.telemetry.log import Log\nlog = Log()\nfor n in range(300): log.info('line', n=n)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=_environment(), timeout=30, check=True)
    assert [json.loads(line)["n"] for line in done.stderr.splitlines()] == list(range(300))


def test_errors_are_written_at_once_and_other_lines_soon():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        log = Log(stream=stream)
        log.info("first")
        log.error("second")
        received = b""
        while b"second" not in received:
            received += os.read(reader, 65536)
        assert b"first" in received
        log.close()
        log.info("after the end")
        assert log.dropped == 1
        log.close()
    os.close(reader)


def test_a_log_that_was_never_used_lets_go_of_its_descriptor():
    with open(os.devnull, "w") as stream:
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        Log(stream=stream).close()
        assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == before


def test_a_closed_stream_in_memory_costs_the_lines_only():
    stream = io.StringIO()
    writer = LineWriter(stream, lambda number: b"%d\n" % number)
    stream.close()
    writer.write(b"x\n", urgent=True)
    assert writer.flush()
    writer.close()
    assert writer.dropped == 1


def test_many_threads_may_log():
    stream = io.StringIO()
    log = Log(stream=stream)
    threads = [threading.Thread(target=lambda: [log.info("x", n=n) for n in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len([json.loads(line) for line in stream.getvalue().splitlines()]) == 1600


class TestBridge:
    @pytest.fixture
    def stream(self) -> Iterator[io.StringIO]:
        stream = io.StringIO()
        log = Log(stream=stream, redactor=Redactor([CANARY]))
        undo = log.bridge_stdlib()
        yield stream
        undo()
        log.close()
        assert not any("gateway" in type(handler).__module__ for handler in logging.getLogger().handlers)

    @staticmethod
    def lines(stream: io.StringIO) -> list[dict[str, Any]]:
        handler = logging.getLogger().handlers[0]
        handler._log.flush()  # type: ignore[attr-defined]
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    def test_warnings_and_errors_of_others_come_through(self, stream: io.StringIO):
        logging.getLogger("gateway.server").warning("slow %s", CANARY)
        logging.getLogger("asyncio").error("broken %d", 7)
        logging.getLogger("gateway.server").info("started")
        shown = [(line["level"], line["logger"], line["message"]) for line in self.lines(stream)]
        assert shown == [("warning", "gateway.server", f"slow {MASK}"), ("error", "asyncio", "broken 7")]

    def test_a_traceback_becomes_a_field(self, stream: io.StringIO):
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("x").exception("failed")
        (line,) = self.lines(stream)
        assert line["traceback"].startswith("Traceback")
        assert "canary" not in line["traceback"].splitlines()[-1]

    def test_a_message_whose_arguments_do_not_fit_is_shown_bare(self, stream: io.StringIO):
        misfit = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d apples", ("no",), None)
        logging.getLogger().handlers[0].handle(misfit)
        assert self.lines(stream)[0]["message"] == "%d apples"


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
