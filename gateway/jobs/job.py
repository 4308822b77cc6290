"""A job: one exchange that is paid for, the stand-in for its clients, and what is known of both.

Its clients are connections that wait for it (waiting.py): the one that began it, and re-sends that joined. None of them
is needed for it to go on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gateway.core.errors import GatewayError
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.headers import Headers
from gateway.core.jobs.job_state import AFTER, JobState, is_over
from gateway.core.jobs.joining import Marks
from gateway.exchange.stand_in import StandInClient
from gateway.jobs.job_errors import error_from, outcome_unknown
from gateway.stores.job_records import StoredJob

Admitted = Callable[["Job", ExchangeRecord], Awaitable[None]]
Confirm = Callable[["Job"], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job is known by: whose it is, and what for. ``model``: as the client named it."""

    key: str
    team: str | None
    route: str
    model: str
    fingerprint: bytes
    marks: Marks


@dataclass(eq=False, slots=True)
class Waiter:
    """A connection that waits for a job. ``joined``: it did not begin it."""

    joined: bool


def new_job_id() -> str:
    """An id that none can guess: the job's answer hangs on it and on the key."""
    return f"job_{secrets.token_hex(16)}"


class JobClient(StandInClient):
    """Stands in for a job's clients. ``follows``: whether any of them may be told how far it is, between the events of
    a stream; each leaves out what comes before its head.
    """

    follows = False

    @property
    def started(self) -> bool:
        return self._started or self.follows

    def headers_now(self) -> Headers:
        """What an answer that began now would say of how it came about."""
        return self.head if self._held is None else self._held()

    def _take_head(self) -> None:
        """The headers as they stand: where a way failed on which nothing came, those of the next."""
        self._head = None
        super()._take_head()


@dataclass(eq=False, slots=True, kw_only=True, weakref_slot=True)
class Job:
    """One job. Implements ``core.jobs.joining.Joinable`` and ``exchange.job.ExchangeJob``.

    ``client``: where its answer is collected; None once it lies in the store alone. ``running``: the task that runs its
    exchange, or brings it to its end after a restart; None for one that ended before this process.
    ``error``: what its clients are answered with; None for an answer. ``refusal``: what it was refused with before
    anything was attempted, for the journal of the request that began it.
    ``exchange``: the id of its row in the books; empty until it has one, which is when it is let in.
    ``detached``: no client need wait for it: it was asked for so, or a client that waits no longer comes again.
    ``order``: JSON, what an answer needs that is made after a restart.
    ``expected``: seconds that it is expected to take; None where nothing is known.
    ``begun``: set once it is let in, or refused; ``finished``: once it has ended. ``webhooks``: those that are told of
    its end; ``announced``: that was done. ``forgotten``: its client wants to hear no more of it, and what is under way
    goes on.
    ``trouble``: what it failed with after its clients were answered. ``stop``: ends what goes on for none then.
    ``foreign``: another gateway has it, or had; ``ended_as``: how it has ended there.
    ``pieces``: of the pictures of a response, the exchange of each and what it is charged, in nano-dollars; None as
    long as that is not known.
    """

    id: str
    key: str
    team: str | None
    route: str
    model: str
    fingerprint: bytes
    idempotency: bytes | None
    request_id: str
    stream: bool
    created_ns: int
    exchange: str = ""
    state: JobState = "reserved"
    ended_ns: int | None = None
    told: bool = False
    purchased: bool = False
    cost: str | None = None
    order: bytes = b"{}"
    error: GatewayError | None = None
    refusal: GatewayError | None = None
    detached: bool = False
    expected: float | None = None
    client: JobClient | None = None
    running: asyncio.Task[None] | None = None
    write: Admitted | None = None
    confirm: Confirm | None = None
    waiters: set[Waiter] = field(default_factory=set)
    owner_left: bool = False
    delivered: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    webhooks: set[str] = field(default_factory=set)
    forgotten: bool = False
    announced: bool = False
    foreign: bool = False
    ended_as: JobState | None = None
    trouble: GatewayError | None = None
    stop: Callable[[], object] | None = None
    pieces: dict[str, int | None] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return is_over(self.state)

    @property
    def left(self) -> bool:
        """No client waits for it that began it, or had its answer."""
        return self.owner_left

    @property
    def gone(self) -> bool:
        """The client that began it left, and was not told to come again."""
        return self.owner_left and not self.detached

    @property
    def taken(self) -> bool:
        """Another re-send waits for it, or had its answer."""
        return self.delivered or any(waiter.joined for waiter in self.waiters)

    @property
    def cancellable(self) -> bool:
        """Nothing of it was sent to an upstream yet."""
        return not self.over and self.sent is not None and not self.sent()

    sent: Callable[[], bool] | None = None

    def become(self, state: JobState, *, told: bool = True) -> None:
        """Go over into another state, if one may follow on this. ``told``: those who wait for it to be ``begun`` may
        know.
        """
        if state in AFTER[self.state]:
            self.state = state
            if told:
                self.begun.set()
            if self.over:
                self.finished.set()

    async def admitted(self, record: ExchangeRecord) -> None:
        """Return once the job is in the store. Raises errors.ledger_unavailable()."""
        if self.write is not None:
            await self.write(self, record)

    async def held(self) -> bool:
        """Whether it is surely still this gateway's. ``confirm`` asks that where others might take it over."""
        return self.confirm is None or await self.confirm(self)

    def enter(self, waiter: Waiter) -> None:
        """A connection waits for it."""
        self.waiters.add(waiter)

    def leave(self, waiter: Waiter, *, answered: bool, again: bool = False) -> None:
        """A connection waits no longer. ``answered``: it had the answer. ``again``: it was told to come again.

        What was not bought yet is not bought for a client that left.
        """
        self.waiters.discard(waiter)
        if again:
            self.detached = True
        if not waiter.joined:
            self.owner_left = not answered
        elif answered:
            self.delivered = True
        if not self.waiters and not self.detached and not answered and self.cancellable:
            self.give_up()

    def give_up(self) -> None:
        """End it, where nothing was bought."""
        self.become("cancelled")
        if self.client is not None:
            self.client.leave()
        if self.stop is not None:
            self.stop()

    def stored(self, error: bytes | None) -> StoredJob:
        """It as the store keeps it. ``error``: JSON."""
        return StoredJob(
            id=self.id,
            key=self.key,
            team=self.team,
            route=self.route,
            model=self.model,
            fingerprint=self.fingerprint,
            idempotency=self.idempotency,
            exchange=self.exchange,
            request_id=self.request_id,
            stream=self.stream,
            created_ns=self.created_ns,
            state=self.state,
            ended_ns=self.ended_ns,
            left=self.left and not self.delivered,  # what a re-send took is free for no other, also after a restart
            told=self.told,
            purchased=self.purchased,
            cost=self.cost,
            order=self.order,
            error=error,
        )


def taken_up(stored: StoredJob) -> Job:
    """A job of an earlier process: its clients have left."""
    error = None if stored.error is None else error_from(stored.error)
    return Job(
        id=stored.id,
        key=stored.key,
        team=stored.team,
        route=stored.route,
        model=stored.model,
        fingerprint=stored.fingerprint,
        idempotency=stored.idempotency,
        request_id=stored.request_id,
        stream=stored.stream,
        created_ns=stored.created_ns,
        exchange=stored.exchange,
        state=stored.state,
        ended_ns=stored.ended_ns,
        told=stored.told,
        purchased=stored.purchased,
        cost=stored.cost,
        order=stored.order,
        error=outcome_unknown() if stored.state == "unknown" and error is None else error,
        owner_left=stored.left or stored.ended_ns is None,
    )


def lasting_pieces(pieces: Sequence[bytes], *, pictures: bool) -> list[bytes]:
    """Of a stream's pieces, those for a client that comes after its end: no comments, and of ``pictures`` those that
    are whole.
    """
    kept = [piece for piece in pieces if not is_comment(piece)]
    return [piece for piece in kept if not is_partial(piece)] if pictures else kept


def pieces_for_joiner(pieces: Sequence[bytes], *, pictures: bool) -> list[bytes]:
    """Of the pieces that have come, those for a client that comes while the stream goes on: of partial pictures the
    newest, unless a whole one came after it.
    """
    kept = lasting_pieces(pieces, pictures=pictures)
    if pictures:
        told = [piece for piece in pieces if not is_comment(piece)]
        if told and is_partial(told[-1]):
            kept.append(told[-1])
    return kept


def is_comment(piece: bytes) -> bool:
    """Whether nothing of a stream's piece is meaningful."""
    return piece.startswith(b":")


def is_partial(piece: bytes) -> bool:
    """Whether it is the event of a picture that is not whole yet."""
    return piece.startswith(b"event: ") and piece[: piece.find(b"\n")].endswith(b".partial_image")
