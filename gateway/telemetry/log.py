"""The gateway's log: one line an event, as JSON for machines or as text for people.

    log.info("attempt", request_id="req_1", upstream="piapi", outcome="ok", ms=12.5)
    {"ts":"2026-11-22T08:47:01.123Z","level":"info","event":"attempt","request_id":"req_1",…}
    08:47:01 info attempt request_id=req_1 upstream=piapi outcome=ok ms=12.5

Lines hold no secrets (telemetry/redaction.py), no raw control characters, and at most ``LINE_CAP`` bytes. The line is
made in the caller's thread; another thread writes it (telemetry/line_writer.py).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Literal, TextIO

from gateway.core.exchange_record import ExchangeRecord
from gateway.runtime.ports import Clock, SystemClock
from gateway.telemetry.line_writer import HELD_AT_MOST, LineWriter
from gateway.telemetry.log_file import LogFile
from gateway.telemetry.log_lines import LINE_CAP, LogFields, json_line, text_line
from gateway.telemetry.redaction import Redactor
from gateway.telemetry.request_line import RequestLines, request_fields

Format = Literal["json", "text"]
Level = Literal["debug", "info", "warning", "error"]

_NUMBERS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Log:
    """A log of events with fields. It may be used from any thread and never waits for the stream's reader.

    ``redactor``: may be replaced at any time; None for one without configured secrets.
    ``stream``: None for standard error.
    ``clock``: None for the machine's.
    ``file``: written to instead of the stream.

    A field named like one of a line's own (ts, level, event) is shown with ``field_`` before it; a field that is None
    is left out of text lines.
    """

    def __init__(
        self,
        format: Format = "json",
        level: Level = "info",
        redactor: Redactor | None = None,
        stream: TextIO | None = None,
        *,
        clock: Clock | None = None,
        held_at_most: int = HELD_AT_MOST,
        file: LogFile | None = None,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self.redactor = Redactor() if redactor is None else redactor
        self._json = format == "json"
        self._threshold = _NUMBERS[level]
        self._colour = not self._json and file is None and stream.isatty()
        self._clock: Clock = SystemClock() if clock is None else clock
        self._second: tuple[int, str] = (-1, "")
        self._file = file
        self._own: dict[str, str] = {}
        self._tail = ""
        self._requests = RequestLines()
        self._writer = LineWriter(file or stream, self._drop_notice, held_at_most=held_at_most)

    def debug(self, event: str, /, **fields: Any) -> None:
        if self._threshold <= logging.DEBUG:
            self._writer.write(self._line("debug", event, fields))

    def info(self, event: str, /, **fields: Any) -> None:
        if self._threshold <= logging.INFO:
            self._writer.write(self._line("info", event, fields))

    def request(self, record: ExchangeRecord) -> None:
        """Write the line of a request that has ended."""
        if self._threshold > logging.INFO:
            return
        written = self._requests.line(record, self._stamp()) if self._json else None
        if self._tail and written is not None:
            written = f"{written[:-2]}{self._tail}"
        if written is not None and len(written) <= LINE_CAP and not self.redactor.touches(line := written.encode()):
            self._writer.write(line)
        else:
            self.info("request", **request_fields(record))

    def warning(self, event: str, /, **fields: Any) -> None:
        if self._threshold <= logging.WARNING:
            self._writer.write(self._line("warning", event, fields))

    def error(self, event: str, /, **fields: Any) -> None:
        self._writer.write(self._line("error", event, fields), urgent=True)

    def open_again(self) -> None:
        """Open the log's file again, as logrotate asks for; say so where there is none."""
        if self._file is None:
            self.info("log_not_opened_again", message="log.file names no file: the log goes to standard error")
            return
        self._file.open_again()
        self._writer.wake()

    def name_gateway(self, id: str) -> None:
        """Have every line from now on say which gateway wrote it, as a field ``gateway``: several write this log."""
        self._own = {"gateway": id}
        self._tail = f',"gateway":{json.dumps(id)}}}\n'

    @property
    def dropped(self) -> int:
        """Lines that could not be written, because the stream is not read or is broken."""
        return self._writer.dropped

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until all lines are written, at most ``timeout`` seconds; returns whether they were."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Write the remaining lines, for at most two seconds. Also called at exit."""
        self._writer.close()

    def bridge_stdlib(self) -> Callable[[], None]:
        """Send warnings and errors of the standard library's logging (the server's, asyncio's, …) through this log.

        Returns a function that restores the previous state.
        """
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        root.handlers = [_Bridge(self)]
        root.setLevel(logging.WARNING)

        def undo() -> None:
            root.handlers = handlers
            root.setLevel(level)

        return undo

    def _line(self, level: Level, event: str, fields: dict[str, Any]) -> bytes:
        if self._own:
            fields = {**fields, **self._own}
        if self._json:
            record: LogFields = {"ts": self._stamp(), "level": level, "event": event, **fields}
            if len(record) != len(fields) + 3:
                record = {"ts": self._stamp(), "level": level, "event": event, **_renamed(fields)}
            return json_line(record, self.redactor)
        return text_line(self._stamp(), level, event, fields, self.redactor, colour=self._colour)

    def _stamp(self) -> str:
        """The time: ISO 8601 in UTC with milliseconds, or the local time of day. The part that changes once a second is
        cached.
        """
        now_ns = self._clock.wall_ns()
        seconds = now_ns // 1_000_000_000
        second, text = self._second
        if seconds != second:
            if self._json:
                text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            else:
                text = time.strftime("%H:%M:%S", time.localtime(seconds))
            self._second = (seconds, text)
        return f"{text}.{now_ns // 1_000_000 % 1000:03d}Z" if self._json else text

    def _drop_notice(self, number: int) -> bytes:
        return self._line("warning", "log_lines_dropped", {"number": number})


class _Bridge(logging.Handler):
    """A logging handler that turns the standard library's records into events named ``stdlib``."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments do not fit the message
            message = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name, "message": message}
        if record.exc_info is not None and record.exc_info[0] is not None:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say("stdlib", **fields)


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {f"field_{name}" if name in ("ts", "level", "event") else name: value for name, value in fields.items()}
