"""The limits of a virtual key: requests a minute, tokens a minute, requests in parallel.

A minute is any half-open span of 60 seconds, not one of the calendar. Counts are exact or err on the strict side:
requests less than ``GRAIN`` apart are kept as one run, which leaves the window when its *last* member is 60 s old. So
no 60 s ever hold more than the limit, capacity may come free up to ``GRAIN`` late, and a key costs at most
``RATE_WINDOW / GRAIN`` + 1 runs of memory. Times are passed in: monotonic seconds of one clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal, Protocol

from gateway.core.errors import LimitError
from gateway.core.headers import Header
from gateway.core.types import VirtualKey

RATE_WINDOW = 60.0
"""Seconds."""

GRAIN = 0.25
"""Seconds: amounts closer together than this leave the window together."""

PARALLEL_RETRY_AFTER = 1.0
"""Seconds to wait after a refusal for parallel requests. When a running request will end is not known, so this is a
guess."""

LimitKind = Literal["rpm", "tpm", "parallel"]

_WORDS: dict[LimitKind, tuple[str, str]] = {
    "rpm": ("requests per minute", "requests"),
    "tpm": ("tokens per minute", "tokens"),
    "parallel": ("parallel requests", "requests"),
}


class _Run:
    """Amounts added within one grain. ``amount`` is 0 once the run has left its window."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, now: float, amount: int) -> None:
        self.first = self.last = now
        self.amount = amount


class SlidingWindow:
    """The sum of the amounts added in the last ``length`` seconds. Every operation is O(1), amortised."""

    __slots__ = ("_length", "_runs", "_total")

    def __init__(self, length: float = RATE_WINDOW) -> None:
        self._length = length
        self._runs: deque[_Run] = deque()
        self._total = 0

    def total(self, now: float) -> int:
        """The sum at ``now``."""
        runs = self._runs
        while runs and now - runs[0].last >= self._length:
            gone = runs.popleft()
            self._total -= gone.amount
            gone.amount = 0
        return self._total

    def add(self, amount: int, now: float) -> _Run:
        """Count ``amount``. Returns the run it was added to, which ``give_back`` needs."""
        self._total += amount
        if self._runs:
            newest = self._runs[-1]
            if now - newest.first < GRAIN:
                newest.amount += amount
                if now > newest.last:
                    newest.last = now
                return newest
        run = _Run(now, amount)
        self._runs.append(run)
        return run

    def give_back(self, run: _Run, amount: int) -> None:
        """Take back part of what was added to ``run``. Does nothing once the run has left the window."""
        returned = min(amount, run.amount)
        run.amount -= returned
        self._total -= returned

    def room_in(self, excess: int, now: float) -> float:
        """Seconds until at least ``excess`` of the sum has left the window."""
        for run in self._runs:
            excess -= run.amount
            if excess <= 0:
                return max(0.0, run.last + self._length - now)
        return self._length

    def empty_in(self, now: float) -> float:
        """Seconds until the window is empty again."""
        left = self._runs[-1].last + self._length - now if self._runs else 0.0
        return left if left > 0.0 else 0.0

    def ages(self, now: float) -> Iterator[tuple[float, int]]:
        """What the window holds: how many seconds ago, and how much."""
        self.total(now)
        return ((now - run.last, run.amount) for run in self._runs if run.amount > 0)


class _KeyUse:
    """The use of one key's limits so far. It outlives reloads of the configuration, even if the limits change."""

    __slots__ = ("in_flight", "requests", "tokens")

    def __init__(self, window: float) -> None:
        self.in_flight = 0
        self.requests = SlidingWindow(window)
        self.tokens = SlidingWindow(window)


class Lease:
    """The admission of one request, to be given back with ``KeyLimits.release``."""

    __slots__ = ("_parallel", "_reserved", "_run", "_state")

    def __init__(self, state: _KeyUse | None, run: _Run | None, reserved: int, parallel: bool) -> None:
        self._state = state
        self._run = run
        self._reserved = reserved
        self._parallel = parallel

    def _end(self, actual_tokens: int | None, now: float) -> None:
        state = self._state
        if state is None:
            return
        self._state = None
        if self._parallel:
            state.in_flight -= 1
        if self._run is None or actual_tokens is None:
            return
        more = max(0, actual_tokens) - self._reserved
        if more < 0:
            state.tokens.give_back(self._run, -more)
        elif more > 0:
            state.tokens.add(more, now)


UNLIMITED = Lease(None, None, 0, parallel=False)
"""The lease of a key that has no limits."""


@dataclass(frozen=True, slots=True)
class LimitRefusal:
    """Why a request may not run now.

    ``asked``: how much of the limit the request needs.
    ``retry_after``: seconds until the same request can be admitted; None when it never can, because it needs more than
        the whole limit.
    """

    kind: LimitKind
    key: str
    limit: int
    asked: int
    retry_after: float | None

    def message(self) -> str:
        """A sentence for the client."""
        name, unit = _WORDS[self.kind]
        if self.retry_after is None:
            return (
                f"This request needs {self.asked} {unit}, more than the whole limit of {self.limit} {name} "
                f"of the key '{self.key}'. It can never be admitted as it is."
            )
        return (
            f"The key '{self.key}' has reached its limit of {self.limit} {name}. "
            f"Please try again in {_duration(self.retry_after).decode()}."
        )

    def error(self) -> LimitError:
        """429 ``rate_limit_exceeded``, not retryable if the request can never be admitted."""
        return LimitError(429, "rate_limit_error", "rate_limit_exceeded", self.message(), retry_after=self.retry_after)


class Limits(Protocol):
    """The limits of virtual keys, wherever they are counted. Times are the running loop's."""

    def admit(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal | None:
        """Reserve one request and ``tokens`` (an estimate, ≥ 0), or refuse and consume nothing. None: that is known
        elsewhere, so ``ask`` is to be awaited.
        """
        ...

    async def ask(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal:
        """What ``admit`` does, where the limits are counted. Raises nothing of its own: where it cannot be asked, there
        is an answer all the same.
        """
        ...

    def release(self, admission: Lease, actual_tokens: int | None, now: float) -> None:
        """Settle a request that has ended. ``actual_tokens``: what it used; None if unknown."""
        ...

    def headers(self, key: VirtualKey, now: float) -> list[Header]:
        """OpenAI's ``x-ratelimit-*`` headers for the limits that are set."""
        ...

    def retain(self, names: Iterable[str]) -> None:
        """Forget the keys that no longer exist."""
        ...


class KeyLimits:
    """The state of all keys' limits, kept by the key's name. One thread only. Implements ``Limits``.

    ``window``: seconds that a rate's limit is for.
    """

    def __init__(self, window: float = RATE_WINDOW) -> None:
        self._window = window
        self._states: dict[str, _KeyUse] = {}

    def admit(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal:
        """Reserve one request and ``tokens`` (an estimate, ≥ 0), or refuse and consume nothing.

        Only limits that are set are counted: a limit set by a reload starts counting at the reload.
        """
        rpm, tpm, parallel = key.rpm, key.tpm, key.parallel
        if rpm is None and tpm is None and parallel is None:
            return UNLIMITED
        if tokens < 0:
            raise ValueError("tokens must not be negative")
        state = self._states.get(key.name)
        if state is None:
            state = self._states[key.name] = _KeyUse(self._window)
        if rpm is not None and state.requests.total(now) >= rpm:
            return _refusal("rpm", key.name, rpm, 1, state.requests, now)
        if tpm is not None and state.tokens.total(now) + tokens > tpm:
            return _refusal("tpm", key.name, tpm, tokens, state.tokens, now)
        if parallel is not None:
            if state.in_flight >= parallel:
                return LimitRefusal("parallel", key.name, parallel, 1, PARALLEL_RETRY_AFTER if parallel > 0 else None)
            state.in_flight += 1
        if rpm is not None:
            state.requests.add(1, now)
        run = state.tokens.add(tokens, now) if tpm is not None else None
        return Lease(state, run, tokens, parallel is not None)

    async def ask(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal:
        """``admit``, which knows everything by itself."""
        return self.admit(key, tokens, now)

    def count(self, key: VirtualKey, tokens: int, now: float) -> Lease:
        """Count a request that was let in elsewhere, whichever limits there are."""
        state = self._states.get(key.name)
        if state is None:
            state = self._states[key.name] = _KeyUse(self._window)
        parallel = key.parallel is not None
        if parallel:
            state.in_flight += 1
        if key.rpm is not None:
            state.requests.add(1, now)
        return Lease(state, state.tokens.add(tokens, now) if key.tpm is not None else None, tokens, parallel)

    def totals(self, name: str, now: float) -> tuple[int, int]:
        """The requests and tokens that a key's windows hold."""
        state = self._states.get(name)
        return (0, 0) if state is None else (state.requests.total(now), state.tokens.total(now))

    def used(self, now: float) -> Iterator[tuple[str, list[tuple[float, int]], list[tuple[float, int]]]]:
        """What the windows hold: the key's name, its requests and its tokens, each with how many seconds ago."""
        for name, state in self._states.items():
            yield name, list(state.requests.ages(now)), list(state.tokens.ages(now))

    def release(self, admission: Lease, actual_tokens: int | None, now: float) -> None:
        """Settle a request that has ended.

        ``actual_tokens``: what it used; None if unknown, in which case the reservation stands.

        Tokens reserved in excess are given back where they were reserved; tokens used beyond the reservation count from
        ``now``. A second release does nothing.
        """
        admission._end(actual_tokens, now)

    def headers(self, key: VirtualKey, now: float) -> list[Header]:
        """OpenAI's ``x-ratelimit-*`` headers for the limits that are set; ``reset`` is when the whole limit is free
        again.
        """
        rpm, tpm = key.rpm, key.tpm
        if rpm is None and tpm is None:
            return []
        state = self._states.get(key.name) or _KeyUse(self._window)
        headers: list[Header] = []
        if rpm is not None:
            left = rpm - state.requests.total(now)
            headers += limit_headers(REQUESTS, rpm, left, state.requests.empty_in(now))
        if tpm is not None:
            left = tpm - state.tokens.total(now)
            headers += limit_headers(TOKENS, tpm, left, state.tokens.empty_in(now))
        return headers

    def retain(self, names: Iterable[str]) -> None:
        """Forget the keys that no longer exist, except while one of their requests runs."""
        kept = frozenset(names)
        self._states = {name: state for name, state in self._states.items() if name in kept or state.in_flight > 0}


def _refusal(kind: LimitKind, key: str, limit: int, asked: int, window: SlidingWindow, now: float) -> LimitRefusal:
    if asked > limit:
        return LimitRefusal(kind, key, limit, asked, None)
    return LimitRefusal(kind, key, limit, asked, window.room_in(window.total(now) + asked - limit, now))


REQUESTS = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
TOKENS = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")


def limit_headers(names: tuple[bytes, bytes, bytes], limit: int, left: int, reset: float) -> list[Header]:
    """The three headers of a limit. ``reset``: seconds until all of it is free again."""
    return [
        (names[0], b"%d" % limit),
        (names[1], b"%d" % left if left > 0 else b"0"),
        (names[2], _duration(reset)),
    ]


def _duration(seconds: float) -> bytes:
    """A duration as OpenAI writes it: ``20ms``, ``1s``, ``6m0s``; rounded up, so that waiting that long is enough."""
    if seconds < 1.0:
        milliseconds = ceil(seconds * 1000)
        if milliseconds < 1000:
            return b"%dms" % milliseconds if milliseconds else b"0s"
    whole = ceil(seconds)
    return b"%dm%ds" % (whole // 60, whole % 60) if whole >= 60 else b"%ds" % whole
