"""Virtual keys shown and changed, for the admin API of a running gateway and for the command line without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.core.defaults import ROTATION_GRACE
from gateway.core.errors import ClientError
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import BudgetState
from gateway.core.types import ANONYMOUS, OTHER, VirtualKey
from gateway.keys.budget_fields import Spending, merged
from gateway.keys.fields import (
    SETTINGS,
    KeyRules,
    as_refusal,
    doubts,
    read_grace,
    read_settings,
    refuse_unknown,
    show_file_key,
    show_stored_key,
)
from gateway.keys.hashing import Pepper, new_key
from gateway.stores.base import KeyReader, KeyRecords
from gateway.stores.key_records import KeyExists, KeyMissing, KeyRevoked, KeySettings, StoredKey
from gateway.stores.records import AuditEntry
from gateway.wire.field_checks import a_string, missing, wrong_value

_MEANING_OF_THEIR_OWN = frozenset({ANONYMOUS, OTHER, ".", ".."})
"""Names that metrics use for others, and those that vanish from a URL's path."""

ROTATED = "key.rotate"
"""What the audit log calls a rotation."""

MOST_LISTED = 500
"""Keys a page has at most."""

SHOWN_AT_ONCE = 50
"""Keys that are shown before everything else has its turn: a millisecond's work."""

Fields = Mapping[str, Any]
Shown = dict[str, Any]
Apply = Callable[[Callable[[], Awaitable[StoredKey]]], Awaitable[StoredKey]]


async def at_once(work: Callable[[], Awaitable[StoredKey]]) -> StoredKey:
    """Change the store, where no gateway runs that must obey."""
    return await work()


class KeyListing:
    """The virtual keys as they are shown: those of the configuration file and those of the store, in one list.

    ``budget``: what is used of a holder's budget at this moment; by default it is not known. Reading raises StoreError
    if the store cannot be read.
    """

    def __init__(
        self,
        keys: KeyReader,
        *,
        rules: Callable[[], KeyRules],
        wall_ns: Callable[[], int],
        budget: Callable[[Holder], BudgetState | None] = lambda _: None,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._wall_ns = wall_ns
        self._budget = budget

    async def page(self, after: str = "", limit: int = MOST_LISTED, include_revoked: bool = False) -> Shown:
        """A page: keys sorted by name behind ``after``, whether there are more, and the name to ask for them with."""
        limit = max(1, min(limit, MOST_LISTED))
        stored = await self._keys.page(after, limit + 1, include_revoked=include_revoked)
        now_ns = self._wall_ns()
        of_file = {key.name: key for key in self._rules().file_keys if key.name > after}
        of_store = {key.name: key for key in stored}
        names = sorted({*of_file, *of_store})
        page = names[:limit]
        rows = []
        for number, name in enumerate(page, 1):  # of two of a name, the file's is in force
            key = of_file.get(name)
            rows.append(self.shown(of_store[name], now_ns) if key is None else show_file_key(key, self._spending(key)))
            if number % SHOWN_AT_ONCE == 0:
                await asyncio.sleep(0)
        return {
            "object": "list",
            "data": rows,
            "has_more": len(names) > limit,
            "last": page[-1] if page else None,
        }

    async def show(self, name: str) -> Shown:
        """One key. Raises ClientError 404 ``key_not_found``."""
        for key in self._rules().file_keys:
            if key.name == name:
                return show_file_key(key, self._spending(key))
        try:
            found = await self._keys.find(name)
        except KeyMissing as error:
            raise not_found(error) from None
        return self.shown(found, self._wall_ns())

    def shown(self, key: StoredKey, now_ns: int) -> Shown:
        """A key of the store, as it is shown."""
        return show_stored_key(key, self._spending(key.virtual_key()), now_ns)

    def _spending(self, key: VirtualKey) -> Spending:
        team = None if key.team is None else self._budget(("team", key.team))
        models = {pattern: self._budget(("key", key.name, pattern)) for pattern, _ in key.model_budgets}
        return Spending(self._budget(("key", key.name)), team, models)


class KeyService:
    """Every method takes fields and gives back values as JSON has them (fields.py). What cannot be done raises
    GatewayError: 400 with ``param``, 404 ``key_not_found``, 409 ``key_exists``, ``key_revoked`` or ``key_in_file``,
    503 ``ledger_unavailable``; or StoreError if the pepper is not there. ``warnings`` of a result: what may be a
    slip.

    ``listing``: shows the keys. ``apply``: carries a change of the store out, and sees that it is obeyed.
    ``who``: makes a change, for the audit log, unless its method is told another.
    """

    def __init__(
        self,
        listing: KeyListing,
        records: KeyRecords,
        *,
        rules: Callable[[], KeyRules],
        pepper: Callable[[], Pepper],
        wall_ns: Callable[[], int],
        apply: Apply = at_once,
        who: str = "admin",
    ) -> None:
        self.listing = listing
        self._records = records
        self._rules = rules
        self._pepper = pepper
        self._wall_ns = wall_ns
        self._apply = apply
        self._who = who

    async def create(self, fields: Fields, who: str = "") -> Shown:
        """A new key; ``key`` of the result is told this once. ``fields``: ``name`` and any setting."""
        refuse_unknown(fields, ("name", *SETTINGS))
        name = fields.get("name")
        if name is None:
            raise missing("name")
        a_string(name, "name")
        if name in _MEANING_OF_THEIR_OWN:
            raise wrong_value("name", f"'{name}' has a meaning of its own; choose another")
        if self._in_file(name):
            raise _conflict("key_exists", f"The configuration file has a key named '{name}'. Choose another name.")
        now_ns = self._wall_ns()
        wanted = {field: value for field, value in fields.items() if field != "name"}
        settings = read_settings(wanted, self._rules(), now_ns)
        key, pepper = new_key(), self._pepper()
        made = await self._change(
            lambda: self._records.create(
                name,
                pepper.digest(key.encode()),
                pepper.mark,
                merged(KeySettings(), settings),
                now_ns,
                audit=self._entry(who, "key.create", name, wanted),
            )
        )
        return {"name": name, "key": key, **self.listing.shown(made, now_ns), **self._warnings(wanted)}

    async def change(self, name: str, fields: Fields, who: str = "") -> Shown:
        """New settings; those that are not among ``fields`` stay."""
        self._refuse_of_file(name)
        now_ns = self._wall_ns()
        settings = read_settings(fields, self._rules(), now_ns)
        entry = self._entry(who, "key.set", name, fields)
        changed = await self._change(lambda: self._records.update(name, lambda old: merged(old, settings), audit=entry))
        return {**self.listing.shown(changed, now_ns), **self._warnings(fields)}

    async def rotate(self, name: str, fields: Fields, who: str = "") -> Shown:
        """Another key under the same name, told this once. ``fields``: ``grace``, for which the one before works on."""
        refuse_unknown(fields, ("grace",))
        self._refuse_of_file(name)
        grace = fields.get("grace")
        grace_ns = read_grace(ROTATION_GRACE if grace is None else grace, self._rules())
        now_ns = self._wall_ns()
        key, pepper = new_key(), self._pepper()
        entry = self._entry(who, ROTATED, name, {"grace": ROTATION_GRACE if grace is None else grace})
        rotated = await self._change(
            lambda: self._records.rotate(
                name, pepper.digest(key.encode()), pepper.mark, now_ns, now_ns + grace_ns, audit=entry
            )
        )
        return {"name": name, "key": key, **self.listing.shown(rotated, now_ns)}

    async def revoke(self, name: str, who: str = "") -> Shown:
        """The key opens nothing any more, for good. A second time changes nothing."""
        self._refuse_of_file(name)
        now_ns = self._wall_ns()
        entry = self._entry(who, "key.revoke", name, {})
        return self.listing.shown(await self._change(lambda: self._records.revoke(name, now_ns, audit=entry)), now_ns)

    def _warnings(self, fields: Fields) -> Shown:
        found = doubts(fields, self._rules())
        return {"warnings": found} if found else {}

    def _entry(self, who: str, act: str, name: str, fields: Fields) -> AuditEntry:
        return AuditEntry(self._wall_ns(), who or self._who, act, name, details=fields)

    async def _change(self, work: Callable[[], Awaitable[StoredKey]]) -> StoredKey:
        try:
            return await self._apply(work)
        except KeyMissing as error:
            raise not_found(error) from None
        except KeyExists as error:
            raise _conflict("key_exists", str(error)) from None
        except KeyRevoked as error:
            raise _conflict("key_revoked", str(error)) from None
        except ValueError as error:
            raise as_refusal(error) from None

    def _in_file(self, name: str) -> bool:
        return any(key.name == name for key in self._rules().file_keys)

    def _refuse_of_file(self, name: str) -> None:
        if self._in_file(name):
            message = f"The key '{name}' is kept in the configuration file: change it there, then reload."
            raise _conflict("key_in_file", message)


def not_found(error: KeyMissing) -> ClientError:
    """404, with the store's words."""
    return ClientError(404, "invalid_request_error", "key_not_found", str(error), param="name")


def _conflict(code: str, message: str) -> ClientError:
    return ClientError(409, "invalid_request_error", code, message, param="name")
