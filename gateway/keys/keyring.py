"""The virtual keys in force: those of the configuration file and those of the store, found by their keyed hash.

All of them are in memory, as teams are small. A request's key is hashed twice (SHA-256, then HMAC under the pepper) and
looked up once; one that was found is found by its SHA-256 from then on. Nothing that can be timed depends on how near a
guess was, nor on why a key opens nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.core.types import VirtualKey
from gateway.keys.hashing import Pepper, open_pepper
from gateway.runtime.ports import Clock
from gateway.stores.base import KeyReader
from gateway.stores.key_records import StoredKey

REMEMBERED_NS = 600 * 1_000_000_000
"""How long a revoked key is still named in metrics: the longest that most requests run."""

_NEVER_NS = 2**63


@dataclass(frozen=True, slots=True)
class _Entry:
    """``until_ns``: Unix time in nanoseconds from which it opens nothing any more; None: never."""

    key: VirtualKey
    until_ns: int | None


class Keyring:
    """``stored``: the store's keys. ``any_stored``: whether it has, or ever had, one.

    ``on_change``: told of every key that has changed, when it is in force; ``on_own_change``: of those only that
    ``change`` has changed.

    A change takes as long with ten thousand keys as with one: it touches what is known of the one key.
    """

    def __init__(self, pepper: Pepper, stored: Iterable[StoredKey], any_stored: bool, clock: Clock) -> None:
        self.pepper = pepper
        self.any_stored = any_stored
        self.on_change: Callable[[StoredKey], None] = lambda _: None
        self.on_own_change: Callable[[StoredKey], None] = lambda _: None
        self._clock = clock
        self._stored = {key.name: key for key in stored}
        self._file_keys: dict[str, VirtualKey] = {}  # by name
        self._file_index: dict[bytes, _Entry] = {}
        self._index: dict[bytes, _Entry] = {}
        self._found: dict[bytes, _Entry] = {}  # by SHA-256: those of the index that have been asked for
        self._revoked: dict[bytes, _Entry] = {}
        self._known: dict[str, VirtualKey] = {}  # of the store, by name, those revoked too
        self._keys: tuple[VirtualKey, ...] | None = None
        self._keys_until_ns = 0  # when one of ``_keys`` is not to be named any more
        self._changing = asyncio.Lock()
        self._version = 0  # of the store's keys, as far as others have changed them
        self._rebuild()

    @classmethod
    async def open(cls, keys: KeyReader, pepper_file: Path, pepper: str, clock: Clock) -> Keyring:
        """Read the keys of a store that this process serves from, and their pepper.

        ``pepper_file``: where the pepper lies unless ``pepper`` gives it in hexadecimal (``open_pepper``).
        Raises StoreError, with words on what to do.
        """
        opened = await asyncio.to_thread(open_pepper, pepper_file, pepper, await keys.pepper_mark())
        version = await keys.version()  # before the keys: what changes meanwhile is read once more
        any_stored = bool(await keys.page(limit=1, include_revoked=True))
        keyring = cls(opened, await keys.active(clock.wall_ns()), any_stored, clock)
        keyring._version = version
        return keyring

    @property
    def keys(self) -> tuple[VirtualKey, ...]:
        """Every key, each name once; also those revoked a moment ago, as requests of theirs may still run."""
        if self._keys is None or self._clock.wall_ns() >= self._keys_until_ns:
            self._keys, self._keys_until_ns = self._named_now()
        return self._keys

    def _named_now(self) -> tuple[tuple[VirtualKey, ...], int]:
        """``keys``, and until when they stay the same if none is changed: Unix time in nanoseconds."""
        now_ns = self._clock.wall_ns()
        until_ns = _NEVER_NS
        named: list[VirtualKey] = [*self._file_keys.values()]
        for name, key in self._stored.items():
            if name in self._file_keys:
                continue
            if key.revoked_at_ns is not None:
                if now_ns >= key.revoked_at_ns + REMEMBERED_NS:
                    continue
                until_ns = min(until_ns, key.revoked_at_ns + REMEMBERED_NS)
            named.append(self._known[name])
        return tuple(named), until_ns

    def named(self, name: str) -> VirtualKey | None:
        """The key of that name: the file's, or else the store's, also if it is revoked."""
        return self._file_keys.get(name) or self._known.get(name)

    @property
    def stored(self) -> tuple[VirtualKey, ...]:
        """The store's keys that were not revoked, also those that the file shadows."""
        return tuple(self._known[key.name] for key in self._stored.values() if key.revoked_at_ns is None)

    def configure(self, file_keys: Iterable[VirtualKey]) -> None:
        """Take these keys of the file, and no others of it, from now on."""
        self._file_keys = {key.name: key for key in file_keys}
        self._rebuild()

    def find(self, digest: bytes) -> VirtualKey | None:
        """The key whose SHA-256 is ``digest``, if it opens anything at this moment."""
        entry = self._found.get(digest)
        if entry is not None and self._in_force(entry):
            return entry.key
        # Also of a key that is over, so that all refusals take as long.
        entry = self._entry(self.pepper.digest_of(digest))
        if entry is None or not self._in_force(entry):
            return None
        self._found[digest] = entry
        return entry.key

    def _in_force(self, entry: _Entry) -> bool:
        return entry.until_ns is None or self._clock.wall_ns() < entry.until_ns

    def former(self, digest: bytes) -> tuple[VirtualKey, str] | None:
        """The key whose SHA-256 is ``digest``, if it has opened something and is over, and how it ended. For the log of
        refusals; a key that was over before this process began is not known any more.
        """
        hidden = self.pepper.digest_of(digest)
        if (entry := self._entry(hidden)) is not None:
            return entry.key, "the key is over: expired, or replaced by rotation"
        entry = self._revoked.get(hidden)
        if entry is None:
            return None
        return entry.key, "the key is revoked" if entry.until_ns is not None else "the file has another of its name"

    async def change(self, work: Callable[[], Awaitable[StoredKey]]) -> StoredKey:
        """Change the store by ``work``; what comes of it is in force when this returns. Raises what ``work`` raises."""
        async with self._changing:  # one at a time, or an older state of a key could be put over a newer one
            key = await work()
            self._put(key)
        self.on_change(key)
        self.on_own_change(key)
        return key

    async def follow(self, keys: KeyReader) -> None:
        """Take over what other processes have changed in the store. Raises StoreError."""
        async with self._changing:
            version, changed = await keys.changed_since(self._version)
            new = [key for key in changed if key != self._stored.get(key.name)]
            for key in new:
                self._put(key)
            self._version = version
        for key in new:
            self.on_change(key)

    def _put(self, key: StoredKey) -> None:
        """Know a key as it is now."""
        if (before := self._stored.get(key.name)) is not None:
            self._forget(before)
        self._take(key)
        self.any_stored = True
        self._keys = None

    def _entry(self, hidden: bytes) -> _Entry | None:
        entry = self._file_index.get(hidden)
        return self._index.get(hidden) if entry is None else entry

    def _rebuild(self) -> None:
        """Make everything anew, after a change of the file's keys."""
        self._index, self._found, self._revoked, self._known = {}, {}, {}, {}
        for key in list(self._stored.values()):
            self._take(key)
        self._file_index = {self.pepper.digest_of(key.digest): _Entry(key, None) for key in self._file_keys.values()}
        self._keys = None

    def _take(self, key: StoredKey) -> None:
        """Know a key by its digests. Nothing is awaited, so that a look-up sees all of a change or nothing of it."""
        self._stored[key.name] = key
        known = self._known[key.name] = key.virtual_key()
        if key.revoked_at_ns is not None or key.name in self._file_keys:
            self._revoked[key.digest] = _Entry(known, key.revoked_at_ns)
            return
        expires = key.settings.expires_at_ns
        self._index[key.digest] = _Entry(known, expires)
        for digest, until_ns in key.old(0):  # at any time; ``find`` looks at the clock
            self._index[digest] = _Entry(known, until_ns if expires is None else min(until_ns, expires))

    def _forget(self, key: StoredKey) -> None:
        """Know a key no longer by any of its digests."""
        self._found = {}
        self._revoked.pop(key.digest, None)
        for digest in (key.digest, *(digest for digest, _ in key.old(0))):
            self._index.pop(digest, None)
