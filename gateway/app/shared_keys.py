"""Virtual keys that other gateways, or the command line, have changed in the store: obeyed here within a second.

A gateway that changes a key tells the others by the shared state, which costs milliseconds. What is not told (the
command line tells nothing, and what is told may be lost) is found by asking the store for its keys' version.
"""

from __future__ import annotations

import asyncio

from gateway.core.errors import GatewayError, StoreError
from gateway.exchange.services import Services
from gateway.keys.keyring import Keyring
from gateway.shared_state.base import Message
from gateway.stores.key_records import KeyReader, StoredKey

LOOK_EVERY = 0.4
"""Seconds between two looks at the version; a change must be obeyed within a second."""

TOLD_FOR = 60.0
"""Seconds for which it is kept that a key has changed."""


class SharedKeys:
    """The keys of a store that others change, too. ``start`` once."""

    def __init__(self, services: Services, keys: KeyReader, keyring: Keyring) -> None:
        self._services = services
        self._keys = keys
        self._keyring = keyring
        self._look = asyncio.Event()
        self._failing = False

    def start(self) -> None:
        """Follow changes from now on; those since the keys were read, too."""
        self._keyring.on_own_change = self._tell
        self._services.shared.listen("keys", self._heard)
        self._services.tasks.spawn(self._watch(), "shared-keys")

    def _tell(self, key: StoredKey) -> None:
        self._services.shared.keep("keys", key.name, {"key": key.name}, TOLD_FOR)

    def _heard(self, _: Message) -> None:
        self._look.set()

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look.wait()
            except TimeoutError:
                pass  # it is time, then
            self._look.clear()
            await self._follow()

    async def _follow(self) -> None:
        """Take over what has changed since the last look. A store that is gone is asked again."""
        try:
            await self._keyring.follow(self._keys)
        except (StoreError, GatewayError) as trouble:
            if not self._failing:
                self._services.log.warning("keys_not_read", problem=str(trouble))
            self._failing = True
        else:
            self._failing = False
