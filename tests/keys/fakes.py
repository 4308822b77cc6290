"""A store's virtual keys, in memory: what stores/base.py's KeyRecords promises, without a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.core.errors import GatewayError
from gateway.stores.base import KeyRecords
from gateway.stores.key_records import MAX_PAGE, KeyExists, KeyMissing, KeyRevoked, KeySettings, StoredKey


class MemoryKeys:
    """``trouble``: why nothing can be changed. ``marks``: the pepper's mark that came with each change."""

    def __init__(self) -> None:
        self.keys: dict[str, StoredKey] = {}
        self.trouble: GatewayError | None = None
        self.marks: list[bytes] = []

    async def page(
        self, after: str = "", limit: int = MAX_PAGE, *, include_revoked: bool = False
    ) -> Sequence[StoredKey]:
        names = sorted(name for name, key in self.keys.items() if include_revoked or key.revoked_at_ns is None)
        return [self.keys[name] for name in names if name > after][:limit]

    async def find(self, name: str) -> StoredKey:
        if name not in self.keys:
            raise KeyMissing(f"There is no key '{name}'.")
        return self.keys[name]

    async def active(self, now_ns: int) -> Sequence[StoredKey]:
        return [self.keys[name] for name in sorted(self.keys) if self.keys[name].active(now_ns)]

    async def pepper_mark(self) -> bytes | None:
        return self.marks[-1] if self.marks else None

    async def create(
        self, name: str, digest: bytes, mark: bytes, settings: KeySettings, now_ns: int, *, audit: object = None
    ) -> StoredKey:
        if name in self.keys:
            raise KeyExists(f"There is a key '{name}' already.")
        self.marks.append(mark)
        return self._keep(StoredKey(name, digest, settings, now_ns))

    async def update(
        self, name: str, change: Callable[[KeySettings], KeySettings], *, audit: object = None
    ) -> StoredKey:
        key = await self._in_use(name)
        return self._keep(replace(key, settings=change(key.settings)))

    async def rotate(
        self, name: str, digest: bytes, mark: bytes, now_ns: int, old_until_ns: int, *, audit: object = None
    ) -> StoredKey:
        key = await self._in_use(name)
        self.marks.append(mark)
        now = replace(key, digest=digest, old_digest=key.digest, old_until_ns=old_until_ns, older=key.old(now_ns))
        return self._keep(now)

    async def revoke(self, name: str, now_ns: int, *, audit: object = None) -> StoredKey:
        key = await self.find(name)
        return self._keep(key if key.revoked_at_ns is not None else replace(key, revoked_at_ns=now_ns))

    async def _in_use(self, name: str) -> StoredKey:
        key = await self.find(name)
        if key.revoked_at_ns is not None:
            raise KeyRevoked(f"The key '{name}' was revoked.")
        return key

    def _keep(self, key: StoredKey) -> StoredKey:
        if self.trouble is not None:
            raise self.trouble
        self.keys[key.name] = key
        return key


_: type[KeyRecords] = MemoryKeys
