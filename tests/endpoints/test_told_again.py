"""The events of a response that are told again, to clients that come late or read slowly."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.core.errors import ClientError
from gateway.endpoints.responses.background import events_in, tell
from gateway.exchange.stand_in import Pieces


class Client:
    """A client that is sent events; while it takes the first ones, others come."""

    gone = False

    def __init__(self, pieces: Pieces, meanwhile: int = 0) -> None:
        self.got = b""
        self.ended: str | None = None
        self._pieces = pieces
        self._meanwhile = meanwhile

    async def start(self, status: int, headers: Any) -> None:
        assert status == 200

    async def write(self, data: bytes) -> None:
        self.got += data
        for _ in range(self._meanwhile):
            self._pieces.add(b"data: 9\n\n")
        self._pieces.end()

    async def finish(self) -> None:
        self.ended = "well"

    def abort(self) -> None:
        self.ended = "cut off"


def pieces(number: int, most: int = 1 << 20) -> Pieces:
    made = Pieces(most)
    for place in range(number):
        made.add(b"data: %d\n\n" % place)
    return made


def test_events_are_told_apart_and_comments_are_none() -> None:
    assert events_in(b": ping\n\ndata: 1\n\nevent: a\ndata: 2\n\n") == [b"data: 1\n\n", b"event: a\ndata: 2\n\n"]


async def test_those_from_a_place_on_are_told() -> None:
    events = pieces(3)
    client = Client(events)
    await tell(cast("Any", client), events, 1)
    assert (client.got, client.ended) == (b"data: 1\n\ndata: 2\n\n", "well")


async def test_those_that_are_kept_no_longer_are_refused_before_anything_is_sent() -> None:
    events = pieces(5, most=20)
    client = Client(events)
    with pytest.raises(ClientError) as refused:
        await tell(cast("Any", client), events, 0)
    assert (refused.value.status, refused.value.param) == (400, "starting_after")
    assert str(events.first - 1) in refused.value.message
    assert (client.got, client.ended) == (b"", None)


async def test_one_that_reads_too_slowly_cannot_take_what_it_has_for_all() -> None:
    events = pieces(2, most=30)
    client = Client(events, meanwhile=5)
    await tell(cast("Any", client), events, 0)
    assert (client.got, client.ended) == (b"data: 0\n\ndata: 1\n\n", "cut off")
