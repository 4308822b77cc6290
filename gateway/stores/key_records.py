"""Virtual keys as stores keep them, and what every engine does with them: their names, what they may do, and keyed
hashes of them; never a key itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.errors import OperatorError
from gateway.core.types import Budget, VirtualKey
from gateway.stores.records import AuditEntry

MAX_PAGE = 1_000
"""Keys a page of a list has at most."""

MAX_NOTE = 1_000
"""Characters of a note."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The form of a key's or a team's name."""

MAX_MODEL_BUDGETS = 100
"""Budgets by model that one key may have: every request looks through them."""

_MODEL = re.compile(r"[^\s*]{1,255}\*?|\*")
_LARGEST = 2**63 - 1


class KeyExists(OperatorError):
    """The name is taken, by a key in use or by a revoked one."""


class KeyMissing(OperatorError):
    """There is no key of that name."""


class KeyRevoked(OperatorError):
    """The key was revoked, and stays as it is."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What may be chosen and changed. ``models``: names, ``*`` may end one. ``rpm``, ``tpm``: requests and tokens a
    minute; ``parallel``: requests at once; None is no limit. ``expires_at_ns``: Unix time in nanoseconds.
    ``model_budgets``: pattern → budget, as pairs. ``alert``: percentages of the budgets; empty for the usual ones.

    Raises ValueError, naming the field, for what makes no sense.
    """

    team: str | None = None
    models: tuple[str, ...] = ("*",)
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    budget: Budget | None = None
    expires_at_ns: int | None = None
    note: str = ""
    model_budgets: tuple[tuple[str, Budget], ...] = ()
    alert: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.team is not None and not NAME.fullmatch(self.team):
            raise ValueError("team: expected 1 to 64 letters, digits, dots, dashes or underscores")
        if not self.models or not all(map(_is_pattern, self.models)):
            raise ValueError("models: expected names without blanks; '*' may end one, such as gpt-4o*")
        for limit in ("rpm", "tpm", "parallel", "expires_at_ns"):
            value = getattr(self, limit)
            if value is not None and not 1 <= value <= _LARGEST:
                raise ValueError(f"{limit}: expected a whole number of at least 1")
        if self.budget is not None and not 0 <= self.budget.amount <= _LARGEST:
            raise ValueError("budget: expected an amount of at least 0, such as 50/month")
        self._check_model_budgets()
        if not all(1 <= percent <= 100 for percent in self.alert):
            raise ValueError("alert: expected percentages from 1 to 100, such as 80")
        if len(self.note) > MAX_NOTE or not all(letter.isprintable() or letter == "\n" for letter in self.note):
            raise ValueError(f"note: expected text of at most {MAX_NOTE} characters")

    def _check_model_budgets(self) -> None:
        patterns = [pattern for pattern, _ in self.model_budgets]
        if not all(map(_is_pattern, patterns)) or len(set(patterns)) < len(patterns):
            raise ValueError(
                "model_budgets: expected names without blanks, each once; '*' may end one, such as gpt-4o*"
            )
        if len(patterns) > MAX_MODEL_BUDGETS:
            raise ValueError(f"model_budgets: expected at most {MAX_MODEL_BUDGETS}")
        if not all(0 <= budget.amount <= _LARGEST for _, budget in self.model_budgets):
            raise ValueError("model_budgets: expected amounts of at least 0, such as 5/day")


def _is_pattern(model: str) -> bool:
    return _MODEL.fullmatch(model) is not None and model.isprintable()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the store has it. Times are Unix nanoseconds.

    ``digest``: see ``key_material.Pepper``. ``old_digest``: of the key before the last rotation, which works until
    ``old_until_ns``. ``older``: of those from before that one, and until when each was promised to work.
    """

    name: str
    digest: bytes = field(repr=False)
    settings: KeySettings
    created_at_ns: int
    revoked_at_ns: int | None = None
    old_digest: bytes | None = field(repr=False, default=None)
    old_until_ns: int | None = None
    older: tuple[tuple[bytes, int], ...] = field(repr=False, default=())

    def old(self, now_ns: int) -> tuple[tuple[bytes, int], ...]:
        """The digests of all keys before this one that still work, and until when; the one before first."""
        last = () if self.old_digest is None or self.old_until_ns is None else ((self.old_digest, self.old_until_ns),)
        return tuple((digest, until_ns) for digest, until_ns in (*last, *self.older) if now_ns < until_ns)

    def active(self, now_ns: int) -> bool:
        """Neither revoked nor expired."""
        expires = self.settings.expires_at_ns
        return self.revoked_at_ns is None and (expires is None or now_ns < expires)

    def virtual_key(self) -> VirtualKey:
        """As the rooms that serve requests know it."""
        settings = self.settings
        return VirtualKey(
            name=self.name,
            digest=self.digest,
            team=settings.team,
            models=settings.models,
            rpm=settings.rpm,
            tpm=settings.tpm,
            parallel=settings.parallel,
            budget=settings.budget,
            model_budgets=settings.model_budgets,
            alert=settings.alert,
        )


class KeyReader(Protocol):
    """Virtual keys, read. All methods raise StoreError if the store cannot be read."""

    async def page(
        self, after: str = "", limit: int = MAX_PAGE, *, include_revoked: bool = False
    ) -> Sequence[StoredKey]:
        """At most ``limit`` keys (1 to MAX_PAGE), sorted by name, from the first one behind ``after``."""
        ...

    async def find(self, name: str) -> StoredKey:
        """The key of that name, revoked or not. Raise KeyMissing."""
        ...

    async def active(self, now_ns: int) -> Sequence[StoredKey]:
        """All keys neither revoked nor expired, sorted by name; of old digests those that still work."""
        ...

    async def pepper_mark(self) -> bytes | None:
        """``Pepper.mark`` of the pepper that the keys in use were hashed with; None if no key is in use."""
        ...

    async def version(self) -> int:
        """A number that grows with every change of a key by another process; 0 where none can change one."""
        ...

    async def changed_since(self, version: int) -> tuple[int, Sequence[StoredKey]]:
        """The keys that were changed, made or revoked since the store was at ``version``, and the version it is at.

        None is left out that was changed by another process. To be asked often: it reads nothing if nothing changed.
        """
        ...


class KeyRecords(KeyReader, Protocol):
    """Virtual keys, read and changed. Each change is durable when its method returns, with the key as it is then.

    ``audit`` of a change is written down with it.

    All changes raise errors.ledger_unavailable() or StoreError if the store cannot be written.
    """

    async def create(
        self,
        name: str,
        digest: bytes,
        mark: bytes,
        settings: KeySettings,
        now_ns: int,
        *,
        audit: AuditEntry | None = None,
    ) -> StoredKey:
        """A new key. ``mark``: the pepper's. Raise KeyExists; ValueError for a bad name; StoreError for a pepper that
        is not the one of the other keys.
        """
        ...

    async def update(
        self, name: str, change: Callable[[KeySettings], KeySettings], *, audit: AuditEntry | None = None
    ) -> StoredKey:
        """New settings. ``change`` gets those of the moment, and must be quick.

        Raise KeyMissing, KeyRevoked, and ValueError for settings that make no sense.
        """
        ...

    async def rotate(
        self,
        name: str,
        digest: bytes,
        mark: bytes,
        now_ns: int,
        old_until_ns: int,
        *,
        audit: AuditEntry | None = None,
    ) -> StoredKey:
        """Another key under the same name; the one before works until ``old_until_ns``, and older ones as long as they
        were promised to.

        Raise KeyMissing, KeyRevoked; StoreError for a pepper that is not the one of the other keys.
        """
        ...

    async def revoke(self, name: str, now_ns: int, *, audit: AuditEntry | None = None) -> StoredKey:
        """The key, and those before it, never work again. A second time changes nothing. Raise KeyMissing."""
        ...
