"""What upstreams list themselves: the last good list of each, and what became of the last question for one.

An upstream knows best until when it serves a model: the date of its list takes the place of the catalogue's, for the
targets at that upstream that ask for that model. Where its list names no date, or no such model, the catalogue's stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.listed_model import ListedModel
from gateway.core.pricing.calendar import utc_time
from gateway.core.types import Target

_NONE: Mapping[str, ListedModel] = {}


@dataclass(frozen=True, slots=True)
class UpstreamList:
    """One upstream's list.

    ``models``: by their names there, as of ``listed_ns``; empty before there was a list.
    ``asked_ns``: when it was last asked, Unix nanoseconds; ``reason``: why that brought no list, empty if it did.
    """

    models: Mapping[str, ListedModel] = field(default_factory=dict, repr=False)
    listed_ns: int | None = None
    asked_ns: int | None = None
    reason: str = ""

    def describe(self) -> dict[str, Any]:
        """As JSON, for ``status``."""
        return {
            "models": None if self.listed_ns is None else len(self.models),
            "listed_at": None if self.listed_ns is None else utc_time(self.listed_ns),
            "asked_at": None if self.asked_ns is None else utc_time(self.asked_ns),
            "reason": self.reason or None,
        }


class ListedModels:
    """The lists of all upstreams, by the upstream's name. Immutable: what is learned makes another one."""

    def __init__(self, lists: Mapping[str, UpstreamList] | None = None) -> None:
        self._lists = lists or {}
        self.dates: Mapping[tuple[str, str], ListedModel] = {
            (upstream, model.id): model
            for upstream, listed in self._lists.items()
            for model in listed.models.values()
            if model.ends_ns is not None
        }
        """The models whose upstream names a last day, by upstream and name."""

    def of(self, upstream: str) -> UpstreamList:
        return self._lists.get(upstream, UpstreamList())

    def models(self, upstream: str) -> Mapping[str, ListedModel]:
        """The models in the upstream's last good list, by their names there."""
        return self._lists[upstream].models if upstream in self._lists else _NONE

    def answered(self, upstream: str, models: Iterable[ListedModel], now_ns: int) -> ListedModels:
        """The same with a new list."""
        listed = UpstreamList({model.id: model for model in models}, now_ns, now_ns)
        return ListedModels({**self._lists, upstream: listed})

    def failed(self, upstream: str, reason: str, now_ns: int) -> ListedModels:
        """The same with a question that brought no list; the last good one is kept."""
        return ListedModels({**self._lists, upstream: replace(self.of(upstream), asked_ns=now_ns, reason=reason)})

    def only(self, upstreams: Iterable[str]) -> ListedModels:
        """The same without the lists of other upstreams than these."""
        names = frozenset(upstreams)
        return ListedModels({name: listed for name, listed in self._lists.items() if name in names})

    def dated(self, target: Target) -> Target:
        """The target, ending when its upstream's own list says so, if it does."""
        model = self.dates.get((target.upstream.name, target.model))
        if model is None or model.ends_ns == target.ends_ns:
            return target
        return replace(target, shutdown=model.shutdown, ends_ns=model.ends_ns)

    def beside(self, upstreams: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Descriptions of upstreams, each with that of its list."""
        return [{**one, "model_list": self.of(one["name"]).describe()} for one in upstreams]


NOTHING_LISTED = ListedModels()
