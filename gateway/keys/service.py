"""Changes of virtual keys, for the admin API of a running gateway and for the command line without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.defaults import ROTATION_GRACE
from gateway.core.errors import ClientError
from gateway.core.types import ANONYMOUS, OTHER
from gateway.keys.fields import SETTINGS, KeyRules, as_refusal, read_grace, read_settings, refuse_unknown
from gateway.keys.hashing import Pepper, new_key
from gateway.keys.key_book import KeyBook, Shown, not_found
from gateway.stores.sqlite.keys import KeyExists, KeyMissing, KeyRevoked, KeySettings, KeyStore, StoredKey
from gateway.wire.field_checks import a_string, missing, wrong_value

_MEANING_OF_THEIR_OWN = frozenset({ANONYMOUS, OTHER, ".", ".."})
"""Names that metrics use for others, and those that vanish from a URL's path."""

Fields = Mapping[str, Any]
Apply = Callable[[Callable[[], Awaitable[StoredKey]]], Awaitable[StoredKey]]


async def at_once(work: Callable[[], Awaitable[StoredKey]]) -> StoredKey:
    """Change the store, where no gateway runs that must obey."""
    return await work()


class KeyService:
    """Every method takes fields and gives back values as JSON has them (key_fields.py). What cannot be done raises
    GatewayError: 400 with ``param``, 404 ``key_not_found``, 409 ``key_exists``, ``key_revoked`` or ``key_in_file``,
    503 ``ledger_unavailable``; or StoreError if the pepper is not there.

    ``book``: shows the keys. ``apply``: carries a change of the store out, and sees that it is obeyed.
    """

    def __init__(
        self,
        book: KeyBook,
        store: KeyStore,
        *,
        rules: Callable[[], KeyRules],
        pepper: Callable[[], Pepper],
        wall_ns: Callable[[], int],
        apply: Apply = at_once,
    ) -> None:
        self.book = book
        self._store = store
        self._rules = rules
        self._pepper = pepper
        self._wall_ns = wall_ns
        self._apply = apply

    async def create(self, fields: Fields) -> Shown:
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
            lambda: self._store.create(name, pepper.digest(key.encode()), pepper.mark, KeySettings(**settings), now_ns)
        )
        return {"name": name, "key": key, **self.book.shown(made, now_ns)}

    async def change(self, name: str, fields: Fields) -> Shown:
        """New settings; those that are not among ``fields`` stay."""
        self._refuse_of_file(name)
        now_ns = self._wall_ns()
        settings = read_settings(fields, self._rules(), now_ns)
        changed = await self._change(lambda: self._store.update(name, lambda old: replace(old, **settings)))
        return self.book.shown(changed, now_ns)

    async def rotate(self, name: str, fields: Fields) -> Shown:
        """Another key under the same name, told this once. ``fields``: ``grace``, for which the one before works on."""
        refuse_unknown(fields, ("grace",))
        self._refuse_of_file(name)
        grace = fields.get("grace")
        grace_ns = read_grace(ROTATION_GRACE if grace is None else grace, self._rules())
        now_ns = self._wall_ns()
        key, pepper = new_key(), self._pepper()
        rotated = await self._change(
            lambda: self._store.rotate(name, pepper.digest(key.encode()), pepper.mark, now_ns, now_ns + grace_ns)
        )
        return {"name": name, "key": key, **self.book.shown(rotated, now_ns)}

    async def revoke(self, name: str) -> Shown:
        """The key opens nothing any more, for good. A second time changes nothing."""
        self._refuse_of_file(name)
        now_ns = self._wall_ns()
        return self.book.shown(await self._change(lambda: self._store.revoke(name, now_ns)), now_ns)

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


def _conflict(code: str, message: str) -> ClientError:
    return ClientError(409, "invalid_request_error", code, message, param="name")
