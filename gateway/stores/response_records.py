"""Answers of the Responses API as stores keep them, and what every engine does with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_CHAIN = 10_000
"""Responses that one may go on from, one after the other."""


Place = tuple[str, str]
"""An upstream and the name of one of its keys: the only way to what is kept there."""


class HistoryTooLong(Exception):
    """A response goes on from more than may be read at once."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One response and what was asked for it. ``key``: the virtual key that it belongs to.

    ``at_ns``: when it was made. ``previous``: the response that it goes on from; None for none.
    ``answer``: the response object. ``input``: the JSON array of its own input's items, each with an id.
    ``events``: of one that was made in the background, the events of its stream; else empty.
    ``items``: the ids of its items, of input and output.
    ``gateway``: the one that wrote it last, where several share the store; as far as it is known.
    """

    id: str
    key: str
    at_ns: int
    previous: str | None
    answer: bytes
    input: bytes
    events: bytes = b""
    items: tuple[str, ...] = ()
    gateway: str = ""

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.answer) + len(self.input) + len(self.events)


@dataclass(frozen=True, slots=True)
class KeptPlace:
    """Where an upstream keeps what ``id`` names to a virtual key: a response, an item, a conversation.

    ``at_ns``: when it was made, or last gone on from.
    """

    key: str
    id: str
    place: Place
    at_ns: int


class ResponsePlaceRecords(Protocol):
    """Where upstreams keep what they answered, each for the virtual key that was answered.

    Reading raises StoreError, writing errors.ledger_unavailable().
    """

    async def keep(self, places: Sequence[KeptPlace]) -> None:
        """Return once they are durable; a newer place of the same id stands in for the older."""
        ...

    async def find(self, key: str, ids: Sequence[str]) -> Mapping[str, Place]:
        """The places of those of these ids that are the key's."""
        ...

    async def forget(self, key: str, id: str) -> None:
        """Return once the place is known no longer."""
        ...

    async def sweep(self, before_ns: int, most: int) -> int:
        """Remove what was noted before ``before_ns`` and, of the key that has most, what is beyond ``most``.

        Returns how many.
        """
        ...


class ResponseRecords(Protocol):
    """Answers of the Responses API, each of the virtual key that it was made for.

    Reading raises StoreError, writing errors.ledger_unavailable().
    """

    async def keep(self, records: Sequence[StoredResponse]) -> None:
        """Return once they are durable; one that is there already is written anew. What they go on from is in use."""
        ...

    async def find(self, key: str, id: str) -> StoredResponse | None:
        """The key's response of that id."""
        ...

    async def chain(self, key: str, id: str, most: int) -> Sequence[StoredResponse]:
        """The key's response of that id, behind those that it goes on from, the oldest first; some may be missing.

        Raises HistoryTooLong if they have more than ``most`` bytes.
        """
        ...

    async def with_items(self, key: str, ids: Sequence[str]) -> Sequence[StoredResponse]:
        """The key's responses that have an item of one of these ids."""
        ...

    async def forget(self, key: str, id: str) -> bool:
        """Return once it is gone; False if there was none."""
        ...

    async def sweep(self, before_ns: int, most: int) -> int:
        """Remove what was used before ``before_ns`` and, of the key that has most, what is beyond ``most`` bytes.

        Returns how many.
        """
        ...

    async def held(self) -> int:
        """Bytes that all of them take."""
        ...
