"""What could not be sent to the collector: counted by any thread, and told in one line a minute.

{"level":"warning","event":"telemetry_not_sent","spans":512,"message":"Failed to export spans batch code: 503, …"}
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable

from gateway.telemetry.log import Log

LOOKED_EVERY = 5.0
TOLD_EVERY = 60.0
"""Seconds between two looks, and between two lines."""

LONGEST = 500
"""Characters of a message that are told."""

LIBRARY = "opentelemetry"
"""The logger under which the library speaks of all this: a line a batch, which would flood the log."""

_ADDRESS = re.compile(r" with url: \S+")
"""Its path may hold a token."""


class Losses:
    """``log``: where they are told. ``monotonic``: seconds."""

    def __init__(self, log: Log, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._spans = 0
        self._trouble = False
        self._verdict = self._cause = ""
        self._setting_up: int | None = None  # the thread that does
        self._next = monotonic()
        self._handler = _Listening(self)
        self._logger = logging.getLogger(LIBRARY)

    def lost(self, spans: int) -> None:
        """So many spans will not be sent."""
        with self._lock:
            self._spans += spans

    def said(self, message: str, *, trouble: bool) -> None:
        """Why something was not sent, in the library's words. ``trouble``: it is given up, not tried again.

        The words that give up may not say why; those that were told before do.
        """
        message = self._log.redactor.text(_ADDRESS.sub("", message))[:LONGEST]  # masked first: half a key is one, too
        with self._lock:
            if trouble:
                self._verdict, self._trouble = message, True
            else:
                self._cause = message

    def tell_settings(self) -> None:
        """Write what the library said of its settings, once it has been set up."""
        with self._lock:
            message = self._cause or self._verdict
            self._verdict, self._cause, self._trouble, self._setting_up = "", "", False, None
        if message:
            self._log.warning("telemetry_settings", message=message)

    async def watch(self) -> None:
        """Tell them; for ever."""
        while True:
            await asyncio.sleep(LOOKED_EVERY)
            if self._monotonic() >= self._next:
                self.tell()

    def tell(self) -> None:
        """Write what has not been told."""
        with self._lock:
            spans, trouble, words = self._spans, self._trouble, [self._verdict, self._cause]
            self._spans, self._trouble, self._verdict, self._cause = 0, False, "", ""
        if spans or trouble:
            self._next = self._monotonic() + TOLD_EVERY
            message = "; before that: ".join(filter(None, words)) or "more came than could be sent"
            self._log.warning("telemetry_not_sent", spans=spans, message=message)

    def listen(self) -> None:
        """Take what the library says, which the log gets no other way from now on; until ``tell_settings``, what it
        says in this thread.
        """
        self._setting_up = threading.get_ident()
        if not self._logger.handlers:
            self._logger.addHandler(logging.NullHandler())  # for what a thread that hangs says when all is over
        self._logger.addHandler(self._handler)
        self._logger.propagate = False

    def listens_to(self, thread: int | None) -> bool:
        """Whether what the library says in that thread is of this collector."""
        return self._setting_up in (None, thread)

    def stop_listening(self) -> None:
        self._logger.removeHandler(self._handler)


class _Listening(logging.Handler):
    def __init__(self, losses: Losses) -> None:
        super().__init__(logging.WARNING)
        self._losses = losses

    def emit(self, record: logging.LogRecord) -> None:
        if not self._losses.listens_to(record.thread):
            return
        if record.name.startswith(f"{LIBRARY}.trace"):  # it repeats what a client wrote into its tracestate
            return
        if record.name.startswith(f"{LIBRARY}.util"):  # it repeats headers of the environment, which may hold a key
            message = "the environment's headers are not well-formed: NAME=VALUE, separated by commas, percent-encoded"
        else:
            message = record.getMessage()
        self._losses.said(message, trouble=record.levelno >= logging.ERROR)
