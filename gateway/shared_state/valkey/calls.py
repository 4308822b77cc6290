"""Questions to the server: those of a moment go in one round trip, and none is waited for longer than a moment.

    up ── an answer takes longer than LATEST ──▶ in doubt ── it came after all ──▶ up
     ▲                                               │
     │                                               ├── not within GIVEN_UP, or SLOW_ANSWERS in a row ──▶ down
     └───────────────── answered again, in time ──────────────────────────────────────────────────────────┘

Whoever asks while it is in doubt or down is told at once that there is no answer. So what a server that hangs costs is
at most LATEST for the requests of one moment, and nothing for those that follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.shared_state.valkey.lines import TROUBLES, Line, unknown_script
from gateway.shared_state.valkey.questions import Question

LATEST = 0.05
"""Seconds that an answer is waited for."""

GIVEN_UP = 0.3
"""Seconds after which the connection of an answer that does not come is given up."""

SLOW_ANSWERS = 3
"""Late answers in a row from which on the server counts as down. One now and then costs the requests of a moment."""

OWN_DELAY = 0.02
"""Seconds that a timer of ours may be late before that is our own doing, and the server gets as long again."""

OWN_DELAYS = 15
"""Times that the server gets so long again; of an answer a part may have come, and the rest never."""

CONNECTED_WITHIN = 2.0
"""Seconds for a connection."""

GREETED_WITHIN = 10.0
"""Seconds for what has to be said first; after a loss that may be much."""

TRY_AGAIN = 0.25
"""Seconds between two tries to reach a server that is down. Doubled each time, up to TRY_AGAIN_AT_MOST."""

TRY_AGAIN_AT_MOST = 1.0

MOST_AT_ONCE = 500
"""Questions of one round trip."""


class Calls:
    """The questions of one gateway.

    ``greet``: says what the server must know before anything else, each time that it is reached; by ``say``.
    ``catch_up``: what the server must know first when an answer came late, but came.
    ``on_change``: told whether it can be asked, and what is the matter if not; once each time.
    """

    def __init__(
        self,
        line: Line,
        greet: Callable[[], Awaitable[None]],
        catch_up: Callable[[], Sequence[Question]],
        on_change: Callable[[bool, str], None],
    ) -> None:
        self._line = line
        self._greet = greet
        self._catch_up = catch_up
        self._on_change = on_change
        self._waiting: list[Question] = []
        self._asked: Sequence[Question] = ()
        self._wake: asyncio.Future[None] | None = None
        self._limit: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._doubtful = False
        self._slow = 0  # late answers in a row
        self._told: bool | None = None
        self.up = False
        self.tried = asyncio.Event()
        """Set once it is known whether the server can be reached."""

    @property
    def usable(self) -> bool:
        """Whether it is worth while to ask."""
        return self.up and not self._doubtful

    def ask(self, question: Question) -> None:
        """Have a question answered soon."""
        if not self.up or self._doubtful:
            question.unanswered()
            return
        self._waiting.append(question)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def run(self) -> None:
        """Ask what is to be asked, as long as this runs."""
        try:
            while True:
                await self._connect()
                trouble = await self._serve()
                await self._line.close()
                self._down(trouble)
        finally:
            self.up = False
            self._give_up_on_all()
            await self._line.close()

    async def say(self, questions: Sequence[Question]) -> None:
        """Ask before anything else, from within ``greet``. Raises TROUBLES."""
        for begin in range(0, len(questions), MOST_AT_ONCE):
            await self._put(questions[begin : begin + MOST_AT_ONCE])

    async def _connect(self) -> None:
        delay = TRY_AGAIN
        while True:
            try:
                async with asyncio.timeout(CONNECTED_WITHIN):
                    await self._line.open()
                    await self._answer_in_time()
                async with asyncio.timeout(GREETED_WITHIN):
                    await self._greet()
            except TROUBLES as trouble:
                await self._line.close()
                self._down(str(trouble) or "it does not answer")
                await asyncio.sleep(delay)
                delay = min(delay * 2, TRY_AGAIN_AT_MOST)
            else:
                self._slow = 0
                self._tell(up=True)
                return

    async def _answer_in_time(self) -> None:
        """Raises TimeoutError for a server that is too slow to be asked with each request."""
        loop = asyncio.get_running_loop()
        for _ in range(2):
            began = loop.time()
            await self._line.ask([("PING",)])
            if loop.time() - began > LATEST:
                raise TimeoutError(f"its answers take longer than {LATEST * 1000:.0f} ms")

    async def _serve(self) -> str:
        """Ask what comes, until that fails; what the matter is."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if not self._waiting:
                    self._wake = loop.create_future()
                    await self._wake
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                self._asked = batch
                self._timer = loop.call_at(loop.time() + LATEST, self._late, loop.time() + LATEST)
                async with asyncio.timeout(None) as self._limit:
                    await self._put(batch)
                self._timer.cancel()
                self._asked = ()
                self._slow = self._slow + 1 if self._doubtful else 0
                if self._doubtful:
                    self._doubtful = False
                    self._waiting[:0] = self._catch_up()  # before anything that is asked from now on
                if self._slow >= SLOW_ANSWERS:
                    return f"its answers take longer than {LATEST * 1000:.0f} ms"
        except TimeoutError:
            return f"no answer within {GIVEN_UP * 1000:.0f} ms"
        except TROUBLES as trouble:
            return str(trouble) or "the connection is lost"
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _put(self, batch: Sequence[Question]) -> None:
        """Ask, and hand out the answers. A script that the server does not know is sent whole."""
        answers = await self._line.ask([question.command for question in batch])
        again: list[Question] = []
        refused: Exception | None = None
        for question, answer in zip(batch, answers, strict=True):
            if question.whole is not None and unknown_script(answer):
                again.append(question)
            elif isinstance(answer, Exception):
                refused = answer
                question.unanswered()
            else:
                question.answered(answer)
        if again:
            answers = await self._line.ask([question.whole or question.command for question in again])
            for question, answer in zip(again, answers, strict=True):
                if isinstance(answer, Exception):
                    refused = answer
                    question.unanswered()
                else:
                    question.answered(answer)
        if refused is not None:  # loading, read-only, out of memory, no permission: none of that is a request's fault
            raise OSError(str(refused))

    def _late(self, due: float, again: int = 0) -> None:
        """No answer in time: none is waited for any more. ``again``: how often it was found that we are late."""
        loop = asyncio.get_running_loop()
        if again < OWN_DELAYS and (loop.time() - due > OWN_DELAY or self._line.has_answer()):
            self._timer = loop.call_later(OWN_DELAY, self._late, loop.time() + OWN_DELAY, again + 1)
            return
        self._doubtful = True
        self._give_up_on_all()
        self._timer = loop.call_later(GIVEN_UP - LATEST, self._given_up)

    def _given_up(self) -> None:
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _give_up_on_all(self) -> None:
        """Those that were asked get their answers all the same, if they come."""
        waiting, self._waiting = self._waiting, []
        for question in (*self._asked, *waiting):
            question.unanswered()

    def _down(self, problem: str) -> None:
        self._tell(up=False, problem=problem)
        self._give_up_on_all()
        self._asked, self._doubtful = (), False

    def _tell(self, *, up: bool, problem: str = "") -> None:
        self.up = up
        self.tried.set()
        if self._told is not up:
            self._told = up
            self._on_change(up, problem)
