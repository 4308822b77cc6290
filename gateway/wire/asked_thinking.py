"""How much thinking a chat request asks for beside the bound of its answer, in whichever vendor's words.

Vendors and relays name it differently, and at different depths: ``thinking: {budget_tokens}``, ``reasoning_effort``,
``reasoning: {max_tokens}``, ``google: {thinking_config: {thinking_level}}``, ``chat_template_kwargs:
{enable_thinking}``. So what counts is the sense of a name, not a list of them: a number in a field about thinking is a
budget, a switch there that is not off asks for thinking.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.wire.chat_request import CHAT_PARAMETERS

UNBOUNDED_THINKING = 32_768
"""Tokens of thinking beside the client's bound that are assumed where it was asked for without a budget of its own."""

MOST_THINKING = 10_000_000
"""Tokens of the largest budget that is counted; no model writes so much."""

_MOST_LOOKED_AT = 5_000
"""Fields and items of lists, which take 5 ms; real requests have a few hundred."""

_KINDS_WITHIN = frozenset({dict, list})

_OPENAIS = ("gpt-", "chatgpt-", "o1", "o3", "o4")
_OTHER_SUBJECTS = frozenset({"messages", "tools", "functions", "response_format", "metadata"})
_ABOUT_THINKING = ("think", "reason")
_BY_THEMSELVES = frozenset({"budgettokens", "effort"})
"""Names about thinking wherever they stand: without case, hyphens and underscores, as all names here."""

_SWITCHES = ("thinking", "reasoning", "think", "effort", "level", "mode")
_SWITCHES_WITHIN = frozenset({"type", "enabled"})
_ONLY_SHOWN = ("include", "exclude", "hide", "show", "return")
_OFF = frozenset({"", "none", "off", "disabled", "disable", "false", "no"})


def most_thinking(body: Mapping[str, Any], model: str) -> int:
    """The tokens of thinking of one choice that may come on top of the client's bound.

    ``model``: the upstream's name. The bound of OpenAI's models is of all output, so that only a budget of its own
    counts there, which a relay may add.

    Only so many fields are looked at; a request with more of them is taken for one that asks for the most.
    """
    bounded = model.rpartition("/")[2].lower().startswith(_OPENAIS)
    if len(body) > _MOST_LOOKED_AT:
        return MOST_THINKING
    fields = {name: body[name] for name in body.keys() - _OTHER_SUBJECTS}
    try:
        return max(_most_of(budgets, asked and not bounded, bounded) for budgets, asked in _Search().places(fields))
    except _TooMuch:
        return MOST_THINKING


def _most_of(budgets: list[int], asked: bool, bounded: bool) -> int:
    if budgets and min(budgets) >= 0:
        return max(budgets)
    if budgets and not bounded:
        return max(UNBOUNDED_THINKING, *budgets)  # a budget below 0 leaves it to the model
    return max([UNBOUNDED_THINKING if asked else 0, *budgets])


class _TooMuch(Exception):
    """There is more to look at than is looked at."""


class _Search:
    """One walk through a request's fields, which ends by _TooMuch beyond ``_MOST_LOOKED_AT`` of them."""

    def __init__(self) -> None:
        self._left = _MOST_LOOKED_AT

    def places(self, fields: Mapping[str, Any]) -> Iterator[tuple[list[int], bool]]:
        """Of each object: the budgets it names itself, and whether it asks for thinking."""
        unseen = [(fields, False)]  # objects, and whether each is about thinking, so that what its fields say is, too
        while unseen:
            place, within = unseen.pop()
            self._look_at(len(place))
            budgets: list[int] = []
            asked = False
            for name, value in place.items():
                if name in _PLAIN and not within and type(value) is not dict and type(value) is not list:
                    continue
                word = _word(name)
                about = within or _is_about_thinking(word)
                tells = about or word in _BY_THEMSELVES
                for inner in self._flat(value, all_of_it=tells):
                    if isinstance(inner, dict):
                        unseen.append((inner, about))
                    elif tells:
                        number = _tokens(inner)
                        if word.endswith(_SWITCHES) or (within and word in _SWITCHES_WITHIN):
                            asked = asked or not (_is_off(inner) or word.startswith(_ONLY_SHOWN))
                        elif number is not None:
                            budgets.append(number)
            yield budgets, asked

    def _flat(self, value: object, *, all_of_it: bool) -> Iterator[object]:
        """The items of a list and of those within it, or the value that is none.

        ``all_of_it``: not the objects alone, so that a long list of numbers need not be walked through.
        """
        if not isinstance(value, list):
            yield value
            return
        unseen = [value]
        while unseen:
            items = unseen.pop()
            if not all_of_it and _KINDS_WITHIN.isdisjoint(map(type, items)):
                continue
            self._look_at(len(items))
            for inner in items:
                if isinstance(inner, list):
                    unseen.append(inner)
                else:
                    yield inner

    def _look_at(self, more: int) -> None:
        self._left -= more
        if self._left < 0:
            raise _TooMuch


def _word(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _is_about_thinking(word: str) -> bool:
    return any(part in word for part in _ABOUT_THINKING)


_PLAIN = frozenset(name for name in CHAT_PARAMETERS if not _is_about_thinking(_word(name)))
"""Fields whose numbers and texts tell nothing of thinking; most requests have no others."""


def _tokens(value: object) -> int | None:
    """A number of tokens, rounded up; relays take it as text as well, in any form of a number: ``"1.2e4"``.

    A text that only begins like a number is taken for thinking without end: what a relay reads in it is not known.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text or not (text[0].isdigit() or text[0] in "+-."):
            return None
        try:
            value = float(text)
        except ValueError:
            return MOST_THINKING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return math.ceil(max(-1, min(value, MOST_THINKING))) if value == value else MOST_THINKING


def _is_off(value: object) -> bool:
    return not value or (isinstance(value, str) and value.strip().lower() in _OFF)
