"""The price list: what each upstream asks for which model, to price an answer by the model that gave it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from gateway.core.pricing.same_model import LONGEST, folded_name, same_model, undated_name
from gateway.core.types import CostClass, OperationName, Price, Route, Target

_Place = tuple[OperationName, str]
"""An operation and an upstream: one may sell a model by more than one route."""


class PriceList:
    """The prices of all models of a configuration that are billed by usage."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._prices: dict[tuple[_Place, str], Price] = {}
        self._prefixes: list[tuple[_Place, str, Price]] = []
        for route in routes:
            for target in route.targets:
                if target.price is not None and target.cost_class is CostClass.TOKENS:
                    self._add(route, target, target.price)
        self._prefixes.sort(key=lambda entry: len(entry[1]), reverse=True)
        self._listed = lru_cache(maxsize=1024)(self._look_up)  # an upstream answers by the same few names

    def _add(self, route: Route, target: Target, price: Price) -> None:
        place = (target.operation, target.upstream.name)
        if target.model.endswith("*"):
            self._prefixes.append((place, folded_name(target.model[:-1]), price))
            return
        self._prices.setdefault((place, folded_name(target.model)), price)
        if target.model == route.model:  # then the aliases are its provider's names, too
            for alias in route.aliases:
                self._prices.setdefault((place, folded_name(alias)), price)

    def of_answer(self, target: Target, named: str | None) -> tuple[Price | None, bool]:
        """The price of an answer, and whether it is that of the model that gave it.

        ``target``: what was asked. ``named``: the model that the answer names; None if it names none.

        A model of which the same upstream has a price costs that; for any other the price of what was asked must do.
        Work that is sold by the piece costs what was ordered, whichever model did it.
        """
        if not named or named == target.model or target.cost_class is CostClass.PAID:
            return target.price, True
        listed, known = self._listed((target.operation, target.upstream.name), target.model, named[:LONGEST])
        return target.price if listed is None else listed, known

    def _look_up(self, place: _Place, asked: str, named: str) -> tuple[Price | None, bool]:
        """``of_answer``; None for the price of what was asked."""
        folded = folded_name(named)
        if folded == folded_name(asked):
            return None, True
        listed = self._prices.get((place, folded))
        if listed is not None:
            return listed, True
        if same_model(asked, named):
            return None, True
        listed = self._prices.get((place, undated_name(named))) or self._by_prefix(place, folded)
        return listed, listed is not None

    def _by_prefix(self, place: _Place, folded: str) -> Price | None:
        return next((price for at, start, price in self._prefixes if at == place and folded.startswith(start)), None)
