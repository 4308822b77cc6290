"""The limits of virtual keys, counted on the server for all gateways; by this gateway alone while it cannot be asked.

While it can, a request of a key that has limits costs one round trip, which it shares with all others of the moment.
What this gateway lets in, it also counts by itself. So when the server is gone, the gateway lets in its share of each
limit (shares.py) less what it has let in just before; and when the server is back, it is told what was let in
meanwhile, or, if it has lost everything, what is in this gateway's windows. Each gateway tells its own part, and once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal

from gateway.core.headers import Header
from gateway.core.limits.key_limits import (
    GRAIN,
    PARALLEL_RETRY_AFTER,
    RATE_WINDOW,
    REQUESTS,
    TOKENS,
    UNLIMITED,
    KeyLimits,
    Lease,
    LimitKind,
    LimitRefusal,
    limit_headers,
)
from gateway.core.types import VirtualKey
from gateway.shared_state.shares import rank_of, share_of
from gateway.shared_state.valkey.calls import Calls
from gateway.shared_state.valkey.questions import Command, Question, run
from gateway.shared_state.valkey.scripts import script

PLACE_LASTS = 20.0
"""Seconds for which a place among a key's parallel requests is held without being renewed."""

ELSEWHERE = 1.0
"""Seconds after which a request may be sent again that another gateway may have room for."""

RESTORED_IN = 24
"""Pieces of a window in which the server is told what was let in without it."""

_PREFIX = "piapi-gateway:"
_KINDS: dict[bytes, LimitKind] = {b"rpm": "rpm", b"tpm": "tpm", b"parallel": "parallel"}
Window = Literal["requests", "tokens", "places"]


def name_of(key: str, window: Window) -> str:
    """What the server calls a window of a virtual key. All of one key lie together in a cluster."""
    return f"{_PREFIX}{{{key}}}:{window}"


class _Seen:
    """What was last heard of a key's windows; times are the loop's."""

    __slots__ = ("requests_full", "requests_left", "tokens_full", "tokens_left")

    def __init__(self, answer: Sequence[Any], now: float) -> None:
        self.requests_left, self.requests_full = int(answer[3]), now + answer[4] / 1000
        self.tokens_left, self.tokens_full = int(answer[5]), now + answer[6] / 1000


class _FleetLease(Lease):
    """The admission of a request of a fleet.

    ``place``: what its place among the parallel requests is called. ``grain``: where it is counted on the server; -1:
    nowhere. ``owed``: how it is counted until the server is told of it; None if the server knows.
    """

    __slots__ = ("counts_tokens", "grain", "key", "owed", "own", "place", "tokens")

    def __init__(self, key: VirtualKey, tokens: int, own: Lease, place: str, grain: int, owed: Lease | None) -> None:
        super().__init__(None, None, 0, parallel=False)
        self.key, self.tokens, self.own, self.place, self.grain, self.owed = key.name, tokens, own, place, grain, owed
        self.counts_tokens = key.tpm is not None


class _Admission(Question):
    """A request that asks to be let in."""

    __slots__ = ("_key", "_limits", "_place", "_tokens", "outcome")

    def __init__(self, limits: ValkeyLimits, key: VirtualKey, tokens: int, place: str) -> None:
        bounds = [-1 if limit is None else limit for limit in (key.rpm, key.tpm, key.parallel)]
        keys = (name_of(key.name, "requests"), name_of(key.name, "tokens"), name_of(key.name, "places"))
        super().__init__(*run(script("admit"), keys, (*bounds, tokens, *limits.span, place, limits.place_lasts)))
        self._limits, self._key, self._tokens, self._place = limits, key, tokens, place
        self.outcome: asyncio.Future[Lease | LimitRefusal | None] = asyncio.get_running_loop().create_future()

    def answered(self, answer: Any) -> None:
        late = self.outcome.done()
        outcome = self._limits.understand(self._key, self._tokens, self._place, answer, late=late)
        if not late:
            self.outcome.set_result(outcome)
            return
        self._limits.doubtful.pop(self._place, None)
        if isinstance(outcome, _FleetLease):  # this gateway has decided by itself meanwhile, or its client has left
            self._limits.take_back(outcome)

    def unanswered(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)
            if self._key.parallel is not None:
                self._limits.doubtful[self._place] = self._key.name


class _Release(Question):
    """A request that has ended. If the server is not told of it now, its place is given back later."""

    __slots__ = ("_key", "_limits", "_place")

    def __init__(self, limits: ValkeyLimits, lease: _FleetLease, more: int, requests: int = 0) -> None:
        keys = (name_of(lease.key, "requests"), name_of(lease.key, "tokens"), name_of(lease.key, "places"))
        super().__init__(*run(script("release"), keys, (lease.place, lease.grain, requests, more, *limits.span)))
        self._limits, self._key, self._place = limits, lease.key, lease.place

    def answered(self, answer: Any) -> None:
        self._limits.doubtful.pop(self._place, None)

    def unanswered(self) -> None:
        if self._place:
            self._limits.doubtful[self._place] = self._key


class ValkeyLimits:
    """Implements ``core.limits.key_limits.Limits``.

    ``gateways``: the ids of those that live, ours among them. ``window``, ``grain``: seconds, as in KeyLimits.
    """

    def __init__(
        self,
        own_id: str,
        calls: Calls,
        gateways: Callable[[], Sequence[str]],
        *,
        window: float = RATE_WINDOW,
        grain: float = GRAIN,
        place_lasts: float = PLACE_LASTS,
    ) -> None:
        self._id = own_id
        self._calls = calls
        self._gateways = gateways
        self._window = window
        self.span: Command = (round(window * 1000), round(grain * 1000))
        self.place_lasts = round(place_lasts * 1000)
        self.own = KeyLimits(window)
        self._owed = KeyLimits(window)  # what the server has not been told of
        self._owes = False
        self._undone: list[_FleetLease] = []
        self._places: dict[str, set[str]] = {}  # by key: those that requests of ours have
        self._told: set[str] = set()  # of the places, those that the server has heard of
        self._seen: dict[str, _Seen] = {}
        self.doubtful: dict[str, str] = {}
        """Places that the server may hold for requests which have ended or were let in otherwise, and their keys."""
        self._number = count()

    def admit(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal | None:
        """None while the server can be asked."""
        if key.rpm is None and key.tpm is None and key.parallel is None:
            return UNLIMITED
        if self._calls.usable:
            return None
        return self._admit_alone(key, tokens, now)

    async def ask(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal:
        """The server's answer; this gateway's own if that does not come in time."""
        if tokens < 0:
            raise ValueError("tokens must not be negative")
        question = _Admission(self, key, tokens, f"{self._id}:{next(self._number):x}")
        self._calls.ask(question)
        answer = await question.outcome
        return self._admit_alone(key, tokens, asyncio.get_running_loop().time()) if answer is None else answer

    def release(self, admission: Lease, actual_tokens: int | None, now: float) -> None:
        """Tell the server, without waiting for it. What it is not told: a place comes free by itself, a reservation
        stands.
        """
        if not isinstance(admission, _FleetLease) or admission.tokens < 0:
            return
        counted = actual_tokens is not None and admission.counts_tokens and admission.grain >= 0
        more = max(0, actual_tokens or 0) - admission.tokens if counted else 0
        admission.tokens = -1  # once
        self.own.release(admission.own, actual_tokens, now)
        if admission.owed is not None:
            self._owed.release(admission.owed, actual_tokens, now)
        if admission.place:
            self._leave(admission)
        if admission.place or more:
            self._calls.ask(_Release(self, admission, more))

    def take_back(self, lease: _FleetLease) -> None:
        """Undo an admission that came too late to be one; with the next sign of life if the server is in doubt."""
        if lease.place:
            self._leave(lease)
        self._undone.append(lease)
        if self._calls.usable:
            for question in list(self._undo()):
                self._calls.ask(question)

    def _leave(self, lease: _FleetLease) -> None:
        if (places := self._places.get(lease.key)) is not None:
            places.discard(lease.place)
            if not places:
                del self._places[lease.key]
        if lease.place in self._told:
            self._told.remove(lease.place)
        else:
            lease.place = ""  # taken and left while the server was gone

    def headers(self, key: VirtualKey, now: float) -> list[Header]:
        """By what was last heard of the key; by this gateway's share while it is alone."""
        seen = self._seen.get(key.name)
        if not self._calls.usable or (seen is None and key.rpm is key.tpm is None):
            return self.own.headers(self._share(key, now), now)
        headers: list[Header] = []
        if key.rpm is not None:
            full = 0.0 if seen is None else seen.requests_full - now
            left = key.rpm if seen is None or full <= 0 else min(seen.requests_left, key.rpm)
            headers += limit_headers(REQUESTS, key.rpm, left, max(0.0, full))
        if key.tpm is not None:
            full = 0.0 if seen is None else seen.tokens_full - now
            left = key.tpm if seen is None or full <= 0 else min(seen.tokens_left, key.tpm)
            headers += limit_headers(TOKENS, key.tpm, left, max(0.0, full))
        return headers

    def retain(self, names: Iterable[str]) -> None:
        """Forget the keys that no longer exist, except while one of their requests runs."""
        kept = frozenset(names)
        self.own.retain(kept)
        self._seen = {name: seen for name, seen in self._seen.items() if name in kept}

    def understand(
        self, key: VirtualKey, tokens: int, place: str, answer: Sequence[Any], *, late: bool
    ) -> Lease | LimitRefusal:
        """What the server's answer to an admission means. ``late``: it lets nothing in any more."""
        now = asyncio.get_running_loop().time()
        self._seen[key.name] = _Seen(answer, now)
        if (kind := _KINDS.get(answer[0])) is None:
            if key.parallel is not None:
                self._told.add(place)
            own = UNLIMITED if late else self.own.count(key, tokens, now)
            return self._lease(key, tokens, own, place, int(answer[2]))
        wait = None if answer[1] < 0 else answer[1] / 1000
        if kind == "parallel":
            assert key.parallel is not None
            return LimitRefusal(kind, key.name, key.parallel, 1, PARALLEL_RETRY_AFTER if key.parallel > 0 else None)
        limit = key.rpm if kind == "rpm" else key.tpm
        assert limit is not None
        return LimitRefusal(kind, key.name, limit, 1 if kind == "rpm" else tokens, wait)

    # What the server is told beside admissions

    def renewals(self) -> Iterator[Question]:
        """Hold on to the places of the requests that run, and to no others."""
        yield from self.given_back()
        self.doubtful.clear()
        yield from self._held()

    def given_back(self) -> Iterator[Question]:
        """The places in doubt, given back; more than once, as a server that stood still may only later carry out what
        it was asked before.
        """
        for place, key in self.doubtful.items():
            yield Question(("ZREM", name_of(key, "places"), place))

    def _held(self) -> Iterator[Question]:
        for key, places in self._places.items():
            self._told |= places
            yield Question(*run(script("renew"), (name_of(key, "places"),), (self.place_lasts, *places)))

    def restored(self, *, lost: bool) -> Iterator[Question]:
        """Tell what the server does not know. ``lost``: it knows nothing at all any more. To be asked for once only."""
        yield from self.settled(lost=lost)
        yield from self.given_back()
        yield from self._held()

    def settled(self, *, lost: bool = False) -> Iterator[Question]:
        """Tell what was let in without the server, and what it let in without us; once."""
        yield from self._undo()
        if not lost and not self._owes:
            return
        self._owes = False
        now = asyncio.get_running_loop().time()
        counted, self._owed = self.own if lost else self._owed, KeyLimits(self._window)
        for key, requests, tokens in counted.used(now):
            for name, ages in ((name_of(key, "requests"), requests), (name_of(key, "tokens"), tokens)):
                if ages:
                    pairs = [number for pair in self._gathered(ages).items() for number in pair]
                    yield Question(*run(script("restore"), (name,), (*self.span, *pairs)))

    def _undo(self) -> Iterator[Question]:
        undone, self._undone = self._undone, []
        for lease in undone:
            yield _Release(self, lease, -lease.tokens if lease.counts_tokens else 0, requests=1)

    def _gathered(self, ages: Sequence[tuple[float, int]]) -> dict[int, int]:
        """Milliseconds ago → amount; what lies near together counts from the newest of it, so that it is little."""
        gathered: dict[int, list[float]] = {}
        for age, amount in ages:
            one = gathered.setdefault(int(age / self._window * RESTORED_IN), [age, 0])
            one[0], one[1] = min(one[0], age), one[1] + amount
        return {round(age * 1000): int(amount) for age, amount in gathered.values()}

    def farewell(self) -> Iterator[Question]:
        """Give back every place."""
        for key, places in self._places.items():
            yield Question(("ZREM", name_of(key, "places"), *places))

    # Alone

    def _admit_alone(self, key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal:
        share = self._share(key, now, tokens)
        answer = self.own.admit(share, tokens, now)
        if not isinstance(answer, LimitRefusal):
            place, self._owes = f"{self._id}:{next(self._number):x}", True
            return self._lease(key, tokens, answer, place, -1, self._owed.count(key, tokens, now))
        limit = {"rpm": key.rpm, "tpm": key.tpm, "parallel": key.parallel}[answer.kind]
        assert limit is not None
        wait = answer.retry_after
        return replace(answer, limit=limit, retry_after=ELSEWHERE if wait is None and answer.asked <= limit else wait)

    def _share(self, key: VirtualKey, now: float, tokens: int = 0) -> VirtualKey:
        """The key with this gateway's part of its limits, as what its own windows may hold.

        Where the gateways were not asked equally often, that may be less than its part of what was left when the server
        was last heard: then this counts. One request may be larger than a part of the tokens: the first of the gateways
        lets it in.
        """
        gateways = self._gateways()
        number = max(1, len(gateways))
        rank = rank_of(key.name, self._id, gateways)
        rpm, tpm, parallel = (
            None if limit is None else share_of(limit, number, rank) for limit in (key.rpm, key.tpm, key.parallel)
        )
        if (seen := self._seen.get(key.name)) is not None:
            own, owed = self.own.totals(key.name, now), self._owed.totals(key.name, now)
            if rpm is not None and key.rpm is not None and now < seen.requests_full:
                rpm = max(rpm, own[0] - owed[0] + min(seen.requests_left, key.rpm) // number)
            if tpm is not None and key.tpm is not None and now < seen.tokens_full:
                tpm = max(tpm, own[1] - owed[1] + min(seen.tokens_left, key.tpm) // number)
        if tpm is not None and key.tpm is not None and tokens > tpm and rank == 0:
            tpm = key.tpm
        return replace(key, rpm=rpm, tpm=tpm, parallel=parallel)

    def _lease(
        self, key: VirtualKey, tokens: int, own: Lease, place: str, grain: int, owed: Lease | None = None
    ) -> _FleetLease:
        if key.parallel is None:
            place = ""
        else:
            self._places.setdefault(key.name, set()).add(place)
        return _FleetLease(key, tokens, own, place, grain, owed)
