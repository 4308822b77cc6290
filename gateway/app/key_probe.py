"""The probe of upstream keys at the start, and of those that a reload brings: one free question for each, in the
background. A key that is refused is in the log by its name, before a client's request finds it out.

Nothing follows for routing: a key that is refused here is tried by requests all the same, and rests when it fails
there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.core.types import Credential, Upstream
from gateway.exchange.services import Services
from gateway.upstream.key_reading import ask_about_key

AT_ONCE = 4
"""Keys that are asked about at the same time."""

REFUSED = frozenset({401, 403})


class KeyProbe:
    """Asks about each key once, however often it is called. Of an upstream of another dialect than PiAPI's the
    first is not asked about: its list of models is asked for anyway, with that key, by the same question.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asking = False
        self._asked: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)

    def start(self, upstreams: Iterable[Upstream]) -> None:
        """Ask about these keys, and from now on about what ``ask`` is told of."""
        self._asking = True
        self.ask(upstreams)

    def ask(self, upstreams: Iterable[Upstream]) -> None:
        """Ask about the keys that are new, without waiting for the answers; nothing before the start."""
        if not self._asking:
            return
        for upstream in upstreams:
            for place, credential in enumerate(upstream.credentials):
                key = (upstream.name, credential.value)
                if key not in self._asked:
                    self._asked.add(key)
                    if upstream.dialect != "piapi" and place == 0:
                        continue
                    self._services.tasks.spawn(self._probe(upstream, credential), "key-probe")

    def refused_a_list(self, upstream: Upstream, credential: Credential, status: int) -> None:
        """A key was refused when a list of models was asked for. PiAPI's list may not exist, so that says nothing."""
        if upstream.dialect != "piapi":
            self.refused(upstream, credential, status)

    async def _probe(self, upstream: Upstream, credential: Credential) -> None:
        async with self._turns:
            answer = await ask_about_key(self._services.pool, upstream, credential)
        if answer is not None and answer.status in REFUSED:
            self.refused(upstream, credential, answer.status)

    def refused(self, upstream: Upstream, credential: Credential, status: int) -> None:
        """Say, once, that a key is refused."""
        if (upstream.name, credential.value) in self._told:
            return
        self._told.add((upstream.name, credential.value))
        self._services.log.warning(
            "upstream_key_refused",
            upstream=upstream.name,
            upstream_key=credential.name,
            status=status,
            advice="put the right key into the configuration and reload; piapi-gateway check --probe asks again",
        )
