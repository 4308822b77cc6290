"""Budgets of a key by model: which of them a request counts against, and what was used of every model so far.

A model has several names: the one the books use, and those by which clients may ask for it. A budget is for all the
models of which one name matches its pattern, so that no other spelling gets around it.

Every model of every key is counted, whether there is a budget for it or not: one that is set later starts with what was
really used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from gateway.core.pricing.budget_accounts import HolderAccounts
from gateway.core.pricing.budget_errors import Holder

MOST_MODELS = 1_000
"""Models of one key that are counted each by itself: clients may choose names freely where a route ends in ``*``. What
comes beyond is counted by the budgets that are in force, and unknown to those set later."""

NamesOf = Callable[[str], tuple[str, ...]]
"""Any name of a model → all of its names, that of the books first."""


class ModelBudgets:
    """The patterns of every key that has budgets by model, and the accounts of every model that was used."""

    def __init__(self, names_of: NamesOf) -> None:
        self._names_of = names_of
        self._patterns: dict[str, dict[str, Holder]] = {}
        self._keys_of: Counter[str] = Counter()  # how many keys have a pattern
        self._meant: dict[str, tuple[str, ...]] = {}
        self._used: dict[str, dict[str, HolderAccounts]] = {}

    def configure(self, holders: Iterable[Holder]) -> tuple[list[Holder], list[Holder]]:
        """Take these patterns, and no others, from now on. Returns those that are new, and those that are gone."""
        before = {holder for patterns in self._patterns.values() for holder in patterns.values()}
        self._patterns = {}
        for holder in holders:
            if len(holder) == 3:
                self._patterns.setdefault(holder[1], {})[holder[2]] = holder
        self._keys_of = Counter(pattern for patterns in self._patterns.values() for pattern in patterns)
        self._meant = {pattern: self._names_meant(pattern) for pattern in self._keys_of}
        now = [holder for patterns in self._patterns.values() for holder in patterns.values()]
        return [holder for holder in now if holder not in before], list(before.difference(now))

    def configure_key(self, key: str, holders: Iterable[Holder]) -> tuple[list[Holder], list[Holder]]:
        """``configure`` for the patterns of one key."""
        before = self._patterns.pop(key, {})
        now: dict[str, Holder] = {holder[2]: holder for holder in holders if len(holder) == 3}
        if now:
            self._patterns[key] = now
        new, gone = now.keys() - before.keys(), before.keys() - now.keys()
        self._keys_of.update(new)
        for pattern in new:
            self._meant.setdefault(pattern, self._names_meant(pattern))
        for pattern in gone:
            self._keys_of[pattern] -= 1
            if not self._keys_of[pattern]:
                del self._keys_of[pattern], self._meant[pattern]
        return [now[pattern] for pattern in now if pattern in new], [before[pattern] for pattern in gone]

    def names(self, model: str, asked: str = "") -> tuple[str, ...]:
        """All names of a model. ``asked``: the one a client asked by, if it is another."""
        names = self._names_of(model) if model else ()
        return names if not asked or asked in names else (*names, asked)

    def with_budgets(self, holders: Sequence[Holder], names: tuple[str, ...]) -> tuple[Holder, ...]:
        """The holders and, behind the key, its budgets for a model of these names."""
        key = holders[0]
        return (key, *(self.holders(key[1], names) if key[0] == "key" else ()), *holders[1:])

    def holders(self, key: str, names: tuple[str, ...]) -> tuple[Holder, ...]:
        """The budgets of a key that a model of these names counts against."""
        patterns = self._patterns.get(key)
        if patterns is None:
            return ()
        return tuple(holder for pattern, holder in patterns.items() if self.matches(pattern, names))

    def of_key(self, key: str) -> Iterable[Holder]:
        """Every budget of a key by model."""
        return self._patterns.get(key, {}).values()

    def matches(self, pattern: str, names: tuple[str, ...]) -> bool:
        """Whether a pattern is for a model of these names. ``*`` may end it, and stands for any ending.

        A name that ends in ``*`` is what books of earlier versions say of all the models of such a route: it belongs to
        every pattern that may be for one of them.
        """
        meant = self._meant.get(pattern) or self._names_meant(pattern)
        if pattern.endswith("*"):
            return any(name.startswith(meant) or _may_be(name, pattern[:-1]) for name in names)
        return any(name in meant or _may_be(name, pattern) for name in names)

    def counted(self, key: str, names: tuple[str, ...]) -> HolderAccounts | None:
        """The accounts of one model of a key; None where too many are counted already."""
        if not names:
            return None
        models = self._used.setdefault(key, {})
        accounts = models.get(names[0])
        if accounts is None and len(models) < MOST_MODELS:
            accounts = models[names[0]] = HolderAccounts()
        return accounts

    def used(self, key: str, pattern: str) -> Iterator[HolderAccounts]:
        """The accounts of all models of a key, used so far, that a pattern is for."""
        for model, accounts in self._used.get(key, {}).items():
            if self.matches(pattern, self.names(model)):
                yield accounts

    def _names_meant(self, pattern: str) -> tuple[str, ...]:
        """A pattern and every other name of its model; of one that ends in ``*`` the beginning, and what is left of it
        without what may stand before a model's name, as a vendor's prefix does.
        """
        if not pattern.endswith("*"):
            return (pattern, *self._names_of(pattern))
        begin = pattern[:-1]
        names = self._names_of(begin) if begin else ()
        return (begin, *(name for name in names if begin.lower().endswith(name.lower())))


def _may_be(name: str, begin: str) -> bool:
    return name.endswith("*") and begin.startswith(name[:-1])
