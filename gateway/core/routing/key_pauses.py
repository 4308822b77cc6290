"""The pauses of an upstream key: for how long, for which members, and on how much evidence.

What one request was answered may be that request's own doing, so its word alone shuts no other out. A pause holds

- for the member (the virtual key) whose request it was, until another member's request is answered so too; however
  often one member's requests say it, they are one member's word,
- for seconds, until a free read of the key has confirmed it (401, 402), or repetition has doubled it (403, 429).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.core.chance import Randomness
from gateway.core.outcomes.retry_after import LONGEST, SHORTEST
from gateway.core.types import Outcome

Reason = Literal["rate_limited", "busy", "unfunded", "forbidden", "invalid"]

LONGEST_ON_ONE_WORD = 60.0
"""Seconds that a Retry-After holds at most the first time; each repetition doubles it, up to what was asked for."""

TRY_AGAIN_IN = 5.0
"""Seconds after which the last key of a pool is tried in spite of a rate limit, doubled with each repetition."""

TRY_AGAIN_AT_MOST = 20.0

RENEWED_WITHIN = 20.0
"""Seconds before the end of a confirmed pause from which on a read that confirms it once more begins the next one, so
that no request has to find out."""

REMEMBERED_FOR = 60.0
"""Seconds after a pause for which another member's word still confirms it."""

SEVERAL_WORDS = 2
"""Requests of one member that must have said so before a key counts as out of use in metrics."""


@dataclass(frozen=True, slots=True)
class KeyPause:
    """How long a key is paused.

    ``first``: seconds of the first pause, doubled each time in a row.
    ``longest``: seconds of the longest pause.
    ``jitter``: the share by which chance may shorten or lengthen a pause.
    """

    reason: Reason
    first: float
    longest: float
    jitter: float = 0.0

    def seconds(self, times: int) -> float:
        """Seconds of the pause that is the ``times``-th in a row, without jitter."""
        return min(self.first * 2.0 ** min(times - 1, 30), self.longest)


KEY_PAUSES: Mapping[str, KeyPause] = {
    "key_invalid": KeyPause("invalid", 5.0, 60.0),
    "key_unfunded": KeyPause("unfunded", 5.0, 60.0),
    "key_forbidden": KeyPause("forbidden", 5.0, 600.0),
    "rate_limited": KeyPause("rate_limited", 5.0, 60.0, jitter=0.2),
}
"""Slug → the pause on the word of requests."""

CONFIRMED_PAUSES: Mapping[Reason, KeyPause] = {
    "invalid": KeyPause("invalid", 600.0, 86_400.0),
    "unfunded": KeyPause("unfunded", 600.0, 3_600.0),
}
"""The pause once a free read has confirmed the reason."""


@dataclass(slots=True)
class Cooling:
    """A pause, under way or over and not yet forgotten.

    ``asker``: the only member that it holds for; None if it holds for all.
    ``last``: the member whose request said so last.
    ``since``, ``until``: monotonic seconds.
    ``may_try``: from when another request may try the key all the same if no other is usable.
    ``times``: how often in a row; words of requests that were under way when it began count once.
    ``confirmed``: by a free read. ``confirmations``: how often in a row, until the key has worked again.
    """

    reason: Reason
    asker: str | None
    last: str
    since: float
    until: float
    may_try: float
    times: int = 1
    confirmed: bool = False
    confirmations: int = 0

    def holds(self, asker: str, now: float) -> bool:
        """Whether the key must not be used for a request of ``asker``."""
        return now < self.until and (self.asker is None or self.asker == asker)

    @property
    def is_weighty(self) -> bool:
        """Whether there is more evidence than one request's word."""
        return self.confirmed or self.asker is None or self.times >= SEVERAL_WORDS

    def may_be_tried(self, now: float) -> bool:
        """Whether a request may try the key in spite of the pause, where no other key is usable."""
        return not self.confirmed and now >= self.may_try


def cooled(
    before: Cooling | None, outcome: Outcome, now: float, rng: Randomness, *, asker: str, began: float | None
) -> Cooling:
    """The pause after ``outcome`` of a request of ``asker`` that ``began`` then (None: before the pause, if one holds).

    Requests already under way when a pause began do not lengthen it by doubling, nor do those of the member who said so
    last where it holds for all.
    """
    pause = KEY_PAUSES[outcome.slug]
    if before is None or before.reason != pause.reason:
        return _first(pause, outcome, now, rng, asker)
    if before.confirmed:
        return before if now < before.until else _first(pause, outcome, now, rng, asker, before=before)
    if before.asker is not None and before.asker != asker:
        if now >= before.until + REMEMBERED_FOR:
            return _first(pause, outcome, now, rng, asker)
        return _first(pause, outcome, now, rng, asker, before=before)
    under_way = now < before.until and (began is None or began < before.since)
    more = not under_way and (before.asker is not None or before.last != asker)
    times = before.times + (1 if more else 0)
    seconds = _seconds(pause, outcome, times, rng)
    until = max(before.until, now + seconds) if under_way else now + seconds
    since = before.since if under_way else now
    may_try, confirmations = _may_try(pause, outcome, now, times), before.confirmations
    return Cooling(pause.reason, before.asker, asker, since, until, may_try, times=times, confirmations=confirmations)


def confirmed(before: Cooling | None, reason: Reason, now: float) -> Cooling:
    """The pause after a free read has confirmed ``reason``. One confirmed before that lasts stays as it is."""
    times = 1
    if before is not None and before.reason == reason:
        if before.confirmed and now < before.until - RENEWED_WITHIN:
            return before
        times = before.confirmations + 1
    until = now + CONFIRMED_PAUSES[reason].seconds(times)
    return Cooling(reason, None, "", now, until, until, confirmed=True, confirmations=times)


def _first(
    pause: KeyPause, outcome: Outcome, now: float, rng: Randomness, asker: str, *, before: Cooling | None = None
) -> Cooling:
    """The first pause, for ``asker`` alone; for all if ``before`` was another member's."""
    until = now + _seconds(pause, outcome, 1, rng)
    common = None if before is not None else asker
    confirmations = 0 if before is None else before.confirmations
    return Cooling(
        pause.reason, common, asker, now, until, _may_try(pause, outcome, now, 1), confirmations=confirmations
    )


def _seconds(pause: KeyPause, outcome: Outcome, times: int, rng: Randomness) -> float:
    if outcome.retry_after is not None and pause.reason == "rate_limited":
        trusted = LONGEST_ON_ONE_WORD * 2.0 ** min(times - 1, 30)
        return min(max(outcome.retry_after, SHORTEST), LONGEST, trusted)
    return pause.seconds(times) * (1.0 + pause.jitter * (2.0 * rng.random() - 1.0))


def _may_try(pause: KeyPause, outcome: Outcome, now: float, times: int) -> float:
    """A refusal that nothing has confirmed never keeps a pool's last key from being tried. A rate limit does, for
    seconds; but not the first time that it names a pause longer than any window in which requests are counted.
    """
    if pause.reason != "rate_limited":
        return now
    if times == 1 and outcome.retry_after is not None and outcome.retry_after > LONGEST_ON_ONE_WORD:
        return now
    return now + min(TRY_AGAIN_IN * 2.0 ** min(times - 1, 30), TRY_AGAIN_AT_MOST)
