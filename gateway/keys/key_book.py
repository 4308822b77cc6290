"""The virtual keys as they are shown: those of the configuration file and those of the store, in one list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.core.errors import ClientError
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import BudgetState
from gateway.keys.fields import KeyRules, Spending, show_file_key, show_stored_key
from gateway.stores.sqlite.keys import KeyMissing, StoredKey, find_key, list_keys

MOST_LISTED = 500
"""Keys a page has at most."""

Shown = dict[str, Any]


class KeyBook:
    """``path``: the store's file; one that was not made yet holds no keys. ``budget``: what is used of a holder's
    budget at this moment; by default nobody knows. Reading raises StoreError if the store cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        rules: Callable[[], KeyRules],
        wall_ns: Callable[[], int],
        budget: Callable[[Holder], BudgetState | None] = lambda _: None,
    ) -> None:
        self._path = path
        self._rules = rules
        self._wall_ns = wall_ns
        self._budget = budget

    async def page(self, after: str = "", limit: int = MOST_LISTED, include_revoked: bool = False) -> Shown:
        """A page: keys sorted by name behind ``after``, whether there are more, and the name to ask for them with."""
        limit = max(1, min(limit, MOST_LISTED))
        stored = await asyncio.to_thread(self._stored, after, limit + 1, include_revoked)
        now_ns = self._wall_ns()
        rows = {key.name: self.shown(key, now_ns) for key in stored}
        for key in self._rules().file_keys:  # after the stored ones: of two of a name, the file's is in force
            if key.name > after:
                rows[key.name] = show_file_key(key, self._spending(key.name, key.team))
        names = sorted(rows)
        page = names[:limit]
        return {
            "object": "list",
            "data": [rows[name] for name in page],
            "has_more": len(names) > limit,
            "last": page[-1] if page else None,
        }

    async def show(self, name: str) -> Shown:
        """One key. Raises ClientError 404 ``key_not_found``."""
        for key in self._rules().file_keys:
            if key.name == name:
                return show_file_key(key, self._spending(key.name, key.team))
        try:
            found = await asyncio.to_thread(find_key, self._path, name)
        except KeyMissing as error:
            raise not_found(error) from None
        return self.shown(found, self._wall_ns())

    def shown(self, key: StoredKey, now_ns: int) -> Shown:
        """A key of the store, as it is shown."""
        return show_stored_key(key, self._spending(key.name, key.settings.team), now_ns)

    def _stored(self, after: str, limit: int, include_revoked: bool) -> list[StoredKey]:
        if not self._path.exists():
            return []
        return list_keys(self._path, after=after, limit=limit, include_revoked=include_revoked)

    def _spending(self, name: str, team: str | None) -> Spending:
        return Spending(self._budget(("key", name)), None if team is None else self._budget(("team", team)))


def not_found(error: KeyMissing) -> ClientError:
    """404, with the store's words."""
    return ClientError(404, "invalid_request_error", "key_not_found", str(error), param="name")
