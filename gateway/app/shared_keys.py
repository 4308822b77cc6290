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
from gateway.stores.base import Store
from gateway.stores.key_records import StoredKey

LOOK_EVERY = 0.4
"""Seconds between two looks at the version; a change must be obeyed within a second."""

TOLD_FOR = 60.0
"""Seconds for which it is kept that a key has changed."""


class SharedKeys:
    """The keys of the store, as others change them. ``start`` once."""

    def __init__(self, services: Services, store: Store, keyring: Keyring) -> None:
        self._services = services
        self._keys = store.keys
        self._keyring = keyring
        self._version = 0
        self._look = asyncio.Event()
        self._failing = False

    async def start(self) -> None:
        """Follow changes from now on; those since the keys were read, too."""
        self._services.shared.listen("keys", self._heard)
        self._services.tasks.spawn(self._watch(), "shared-keys")

    def changed(self, key: StoredKey) -> None:
        """A key was changed by this gateway: tell the others."""
        self._services.shared.keep("keys", key.name, {"key": key.name}, TOLD_FOR)

    def _heard(self, _: Message) -> None:
        self._look.set()

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            await self._take_over()

    async def _take_over(self) -> None:
        """Take over what has changed since the last look. A store that is gone is asked again."""
        try:
            version, changed = await self._keys.changed_since(self._version)
            for key in changed:
                await self._keyring.take_over(key)
            self._version = version
            self._failing = False
        except (StoreError, GatewayError) as trouble:
            if not self._failing:
                self._services.log.warning("keys_not_read", problem=str(trouble))
            self._failing = True
