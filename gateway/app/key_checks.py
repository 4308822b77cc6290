"""The check of an upstream key that a request's 401 or 402 has cast doubt on: a free read, in the background.

An answer to one request may be about that request. So the key rests for seconds only until the read has told:

    doubt ──▶ read ──▶ it works: in use again at once
                 ├──▶ refused, or without money: it rests for long, and is read again every so often until it works
                 └──▶ no telling answer: read again, later each time, while the doubt lasts

One read of a key at a time, and none sooner than ``APART`` after the last, however many requests doubt it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway.core.routing.credentials import CredentialPool, Finding
from gateway.core.routing.key_pauses import RENEWED_WITHIN, Reason
from gateway.core.types import Credential, Upstream
from gateway.exchange.services import Services
from gateway.upstream.key_reading import ask_about_key, reading_of

APART = 5.0
"""Seconds between two reads of a key at least. Doubled, up to ``APART_AT_MOST``, while reads tell nothing."""

APART_AT_MOST = 60.0

REFUSED_AGAIN_IN = 30.0
"""Seconds until a key that a read found refused is read again; doubled each time, up to ``REFUSED_AT_MOST``."""

REFUSED_AT_MOST = 600.0

AT_ONCE = 4
"""Keys that are read at the same time."""

_Key = tuple[str, str]


@dataclass(slots=True)
class _Check:
    """What is known of one key's reads.

    ``again``: a doubt has come since the last read began; ``woken`` tells of it, ``doubt`` what it was.
    ``not_before``, ``next_at``: when the next read may be, and when it is due if no doubt comes.
    """

    running: bool = False
    again: bool = False
    doubt: Reason = "invalid"
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    not_before: float = 0.0
    next_at: float = 0.0
    in_a_row: int = 0
    last: Finding = "works"

    async def due(self) -> None:
        """Return once the next read is due: at its time, or as soon after a doubt as it may be."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(max(self.next_at, loop.time())):
                await self.woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, self.not_before - loop.time()))


class KeyChecks:
    """The reads of all doubted keys."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._checks: dict[_Key, _Check] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    def doubt(self, upstream: Upstream, credential: Credential, reason: Reason) -> None:
        """Have a key read that a request was refused with, without waiting for it."""
        check = self._checks.setdefault((upstream.name, credential.value), _Check())
        check.again, check.doubt = True, reason
        check.woken.set()
        if not check.running:
            check.running = True
            self._services.tasks.spawn(self._follow(check, upstream.name, credential), "key-check")

    async def _follow(self, check: _Check, upstream: str, credential: Credential) -> None:
        """Read the key until nothing is left to learn."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await check.due()
                found = self._in_force(upstream, credential)
                if found is None:
                    self._checks.pop((upstream, credential.value), None)
                    return
                where, pool = found
                doubted = pool.doubted(credential.name, loop.time())
                if not check.again and doubted is None and check.last == "unknown":
                    return  # the doubt has passed by itself, or a request has succeeded
                check.doubt = doubted or check.doubt
                await self._read(check, where, pool, credential)
                if check.last == "works" and not check.again:
                    return
        finally:
            check.running = False

    async def _read(self, check: _Check, upstream: Upstream, pool: CredentialPool, credential: Credential) -> None:
        """One read, what follows from it for the key, and when the next one may be."""
        loop = asyncio.get_running_loop()
        check.again, doubt = False, check.doubt
        check.woken.clear()
        async with self._turns:
            answer = await ask_about_key(self._services.pool, upstream, credential)
        reading = reading_of(answer, upstream.dialect, self._services.snapshot.points_per_usd)
        finding = pool.settle(credential.name, doubt, reading, loop.time())
        before, check.last = check.last, finding
        check.in_a_row = check.in_a_row + 1 if finding == before else 1
        now = loop.time()
        check.not_before = now + (_wait(finding, check.in_a_row) if finding == "unknown" else APART)
        check.next_at = max(now + _wait(finding, check.in_a_row), check.not_before)
        if finding in ("invalid", "unfunded"):
            check.next_at = max(min(check.next_at, pool.pause_ends(credential.name) - RENEWED_WITHIN), check.not_before)
        if finding != before:
            self._tell(finding, before, upstream, credential)

    def _in_force(self, name: str, credential: Credential) -> tuple[Upstream, CredentialPool] | None:
        """The upstream and its pool as they are configured now; None if they have the key no more."""
        state = self._services.snapshot.states.get(name)
        if state is None or credential not in state.upstream.credentials:
            return None
        return state.upstream, state.pool

    def _tell(self, finding: Finding, before: Finding, upstream: Upstream, credential: Credential) -> None:
        log, names = self._services.log, {"upstream": upstream.name, "upstream_key": credential.name}
        if finding in ("invalid", "unfunded"):
            log.warning(
                "upstream_key_rests",
                **names,
                reason=finding,
                message="a free read confirms what a request was answered; the key is read again until it works",
            )
        elif finding == "works" and before in ("invalid", "unfunded"):
            log.info("upstream_key_works_again", **names)


def _wait(finding: Finding, in_a_row: int) -> float:
    """Seconds until the next read after so many equal findings in a row."""
    doubled = 2.0 ** min(in_a_row - 1, 30)
    if finding == "works":
        return APART
    if finding == "unknown":
        return min(APART * doubled, APART_AT_MOST)
    return min(REFUSED_AGAIN_IN * doubled, REFUSED_AT_MOST)
