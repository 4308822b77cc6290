"""What upstreams refused of the gateway's own wishes: remembered for an hour, and kept to within one exchange.

The gateway asks for streams and for their usage although the client may not have asked. An upstream that will not have
it is asked again as the client asked. What it refused is remembered for the target and the *shape* of the request: a
model that cannot stream audio streams text as well as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.core.outcomes.refused_wish import wants_stream
from gateway.core.types import ALL_WISHES, NO_WISHES, Endpoint, OperationName, Outcome, Target, Wish

REMEMBERED_FOR = 3600.0
"""Seconds for which a refused wish is not tried again."""

MOST_REMEMBERED = 256
"""Refusals kept for one upstream; clients choose models and shapes, so there is a bound."""


class OwnWishes(NamedTuple):
    """What an order asks of a target beyond its client's request.

    ``made``: the fields.
    ``shape``: a short digest of what may decide whether they are granted (wire/request_shape.py).
    """

    made: frozenset[Wish] = NO_WISHES
    shape: bytes = b""


WishesOf = Callable[[Target], OwnWishes]


def no_wishes(target: Target) -> OwnWishes:
    """The wishes of an order that goes upstream as it came."""
    return OwnWishes()


class _Place(NamedTuple):
    """Where a wish was refused, within one upstream."""

    operation: OperationName
    model: str
    shape: bytes
    wish: Wish


class RefusedWishes:
    """The wishes that one upstream refused. Times are monotonic seconds.

    ``places``: where they were refused → until when that is remembered, in the order of these ends.
    """

    def __init__(self) -> None:
        self.places: dict[_Place, float] = {}

    def refuse(self, target: Target, shape: bytes, wish: Wish, now: float) -> None:
        """Remember a refusal for an hour from ``now``."""
        place = _Place(target.operation, target.model, shape, wish)
        self.places.pop(place, None)
        while len(self.places) >= MOST_REMEMBERED:
            del self.places[next(iter(self.places))]
        self.places[place] = now + REMEMBERED_FOR

    def forget(self, target: Target, shape: bytes, wishes: frozenset[Wish]) -> None:
        """Forget refusals that turned out to be none."""
        for wish in wishes:
            self.places.pop(_Place(target.operation, target.model, shape, wish), None)

    def known(self, target: Target, shape: bytes, now: float) -> frozenset[Wish]:
        """What was refused of late. What is past is dropped, the oldest first."""
        while self.places and next(iter(self.places.values())) <= now:
            del self.places[next(iter(self.places))]
        return frozenset(wish for wish in Wish if _Place(target.operation, target.model, shape, wish) in self.places)


class _Memories(Protocol):
    """The memories of all upstreams, as ``UpstreamStates`` has them."""

    def refused(self, name: str) -> RefusedWishes: ...


class Concessions:
    """What one exchange no longer asks for, target by target: what was refused to it, or to another of its shape.

    A wish that was given up is never made again, so that each costs a target at most one refusal.
    """

    def __init__(self, wishes_of: WishesOf, memories: _Memories) -> None:
        self._wishes_of = wishes_of
        self._memories = memories
        self._given_up: dict[tuple[str, OperationName, str], frozenset[Wish]] = {}
        self._learnt: set[tuple[str, OperationName, str]] = set()

    def without(self, target: Target, now: float) -> frozenset[Wish]:
        """What not to ask ``target`` for."""
        memory = self._memories.refused(target.upstream.name)
        if not memory.places and not self._given_up:
            return NO_WISHES
        known = memory.known(target, self._wishes_of(target).shape, now) if memory.places else NO_WISHES
        place = _place(target)
        given_up = self._given_up.get(place, NO_WISHES) | known
        if given_up:
            self._given_up[place] = given_up  # an hour that ends while the exchange runs changes nothing for it
        return given_up

    def ordered(self, endpoints: Sequence[Endpoint], target: Target, now: float) -> Sequence[Endpoint]:
        """The endpoints for ``target``, those without a wall first if its answer is silent until it is whole."""
        if Wish.STREAM not in self.without(target, now) or Wish.STREAM not in self._wishes_of(target).made:
            return endpoints
        return sorted(endpoints, key=lambda one: one.wall is not None)

    def report(self, target: Target, without: frozenset[Wish], outcome: Outcome, now: float) -> None:
        """Learn from how an attempt ended that was made ``without`` these wishes."""
        place, memory = _place(target), self._memories.refused(target.upstream.name)
        if outcome.wish is not None:
            memory.refuse(target, self._wishes_of(target).shape, outcome.wish, now)
            self._given_up[place] = self._given_up.get(place, NO_WISHES) | {outcome.wish}
            self._learnt.add(place)
        elif outcome.ok and memory.places:
            # A whole answer says nothing of the usage of streams.
            granted = NO_WISHES if Wish.STREAM in without else ALL_WISHES - without
            memory.forget(target, self._wishes_of(target).shape, granted)
        elif outcome.slug == "rejected" and (place in self._learnt or (without and wants_stream(outcome))):
            # It was refused without them as well, so they may have had no part in it: the next one may ask anew.
            memory.forget(target, self._wishes_of(target).shape, ALL_WISHES)


def _place(target: Target) -> tuple[str, OperationName, str]:
    return target.upstream.name, target.operation, target.model
