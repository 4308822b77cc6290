"""The names under which a model may be asked for: its own, its aliases, and what clients make of them.

Other gateways' users write a vendor before a model (``openai/gpt-4o``), vendors' own examples a date behind it
(``gpt-4o-2024-08-06``), people a capital letter. Each of these means a model that is known, so it is that model: with
its targets, its price and its permissions. Only what is known is found: a name is never taken for a model that it does
not contain whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_VENDOR = re.compile(r"~?[A-Za-z0-9][A-Za-z0-9._-]{0,63}/")
"""What may stand before a model: one name and a slash. OpenRouter writes a tilde before those it keeps up to date."""

_YEAR, _MONTH, _DAY = r"20[0-9]{2}", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
_SNAPSHOT = re.compile(rf"[-@](?:{_YEAR}-{_MONTH}-{_DAY}|{_YEAR}{_MONTH}{_DAY}|latest)\Z")
"""What may stand behind a model: a whole date, or that it is the latest. Four digits are none (``-2507`` is a model of
its own at some vendors), nor is ``-preview``."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "openai": ("gpt-", "chatgpt-", "o1", "o3", "o4", "dall-e", "text-", "tts-", "whisper-", "chat-latest"),
    "anthropic": ("claude-",),
    "google": ("gemini-", "gemma-", "imagen-"),
    "deepseek": ("deepseek-",),
    "qwen": ("qwen",),
    "xai": ("grok-",),
}
"""Vendor, without hyphens → how the names of its models begin: what a key with ``openai/*`` may use of those known."""


@dataclass(frozen=True, slots=True)
class NameMatch:
    """The model that a name means.

    ``model``: its own name.
    ``start``, ``end``: where, in the name that was asked for, the model's name or alias stands.
    """

    model: str
    start: int
    end: int


class ModelNames:
    """The names of a catalogue's models.

    ``models``: those without ``*``; each means itself.
    ``aliases``: other name → model; one that is a model's own name is that model's.
    """

    def __init__(self, models: Iterable[str], aliases: Mapping[str, str]) -> None:
        own = {model: model for model in models}
        self._known = {**aliases, **own}
        self._lower: dict[str, str] = {}
        ambiguous: set[str] = set()
        for name, model in self._known.items():
            lower = name.lower()
            if self._lower.setdefault(lower, model) != model:
                ambiguous.add(lower)
        for lower in ambiguous:
            del self._lower[lower]

    def own(self, name: str) -> str:
        """The own name of the model that ``name`` means; ``name`` itself if it means none that is known."""
        match = self.match(name)
        return name if match is None else match.model

    def match(self, name: str) -> NameMatch | None:
        """The model that ``name`` means, None if it means none that is known.

        In this order: the name itself (a model's own, or an alias), without its date, without its vendor, without
        both; then the same in any case, as far as only one model is meant.
        """
        dated = _SNAPSHOT.search(name)
        end = dated.start() if dated is not None else len(name)
        start = after_vendor(name)
        spans = [(0, len(name)), (0, end), (start, len(name)), (start, end)]
        for known, asked in ((self._known, name), (self._lower, name.lower() if name.isascii() else "")):
            for first, last in spans:
                model = known.get(asked[first:last])
                if model is not None:
                    return NameMatch(model, first, last)
        return None


def after_vendor(name: str) -> int:
    """Where the model begins in a name with a vendor's prefix; 0 in any other."""
    vendor = _VENDOR.match(name)
    return vendor.end() if vendor is not None and vendor.end() < len(name) else 0


def spellings(name: str, *, vendor: bool = True) -> tuple[str, ...]:
    """A name of a model that is not known, and what is left of it without a date, a vendor's prefix and capitals.

    ``vendor``: whether what stands before a slash may be left out.
    """
    dated = _SNAPSHOT.search(name)
    ends = (len(name), dated.start()) if dated is not None else (len(name),)
    starts = (0, after_vendor(name)) if vendor else (0,)
    found = [name[start:end] for start in starts for end in ends if start < end]
    return tuple(dict.fromkeys((*found, *(each.lower() for each in found))))


def allowed(patterns: Sequence[str], model: str) -> bool:
    """Whether ``model`` matches one of a key's patterns. A final ``*`` stands for any ending, also an empty one."""
    if "*" in patterns or model in patterns:
        return True
    return any(one.endswith("*") and model.startswith(one[:-1]) for one in patterns)


def allowed_as_asked(patterns: Sequence[str], asked: str, model: str) -> bool:
    """Whether a key's patterns allow ``model`` by the name that was asked for, with a vendor's prefix or a date.

    Anybody can write anything before a slash. So a pattern that ends in ``*`` counts only if it says something of the
    model too (``openai/gpt-4o*``), or names the vendor who makes it (``openai/*``).
    """
    start = after_vendor(asked)
    for one in patterns:
        if one == asked:
            return True
        if not one.endswith("*") or not asked.startswith(one[:-1]):
            continue
        if len(one) - 1 > start:
            return True
        if len(one) - 1 == start and model.startswith(_FAMILIES.get(_plain(asked[: start - 1]), ())):
            return True
    return False


def allowed_unlisted(patterns: Sequence[str], asked: str) -> bool:
    """Whether a key's patterns allow a name that is no known model's.

    Here, too, a pattern that ends before a slash says nothing of what stands behind it: an upstream may take
    ``gpt-4o/claude-opus`` for the model behind the slash. ``vendor/*`` is the operator's word for all of a vendor's.
    """
    start = after_vendor(asked)
    return any(
        one in (asked, "*") or (one.endswith("*") and len(one) - 1 >= start and asked.startswith(one[:-1]))
        for one in patterns
    )


def _plain(vendor: str) -> str:
    return vendor.lower().lstrip("~").replace("-", "")
