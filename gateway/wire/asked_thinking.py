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
    """
    bounded = model.rpartition("/")[2].lower().startswith(_OPENAIS)
    places = _places({name: body[name] for name in body.keys() - _OTHER_SUBJECTS}, within=False)
    return max(_most_of(budgets, asked and not bounded, bounded) for budgets, asked in places)


def _most_of(budgets: list[int], asked: bool, bounded: bool) -> int:
    if budgets and min(budgets) >= 0:
        return max(budgets)
    if budgets and not bounded:
        return max(UNBOUNDED_THINKING, *budgets)  # a budget below 0 leaves it to the model
    return max([UNBOUNDED_THINKING if asked else 0, *budgets])


def _places(fields: Mapping[str, Any], *, within: bool) -> Iterator[tuple[list[int], bool]]:
    """Of each object: the budgets it names itself, and whether it asks for thinking.

    ``within``: whether the object is about thinking, so that what its fields say is, too.
    """
    budgets: list[int] = []
    asked = False
    for name, value in fields.items():
        if name in _PLAIN and not within and type(value) is not dict and type(value) is not list:
            continue
        word = _word(name)
        about = within or _is_about_thinking(word)
        for inner in _flat(value):
            if isinstance(inner, dict):
                yield from _places(inner, within=about)
            elif about or word in _BY_THEMSELVES:
                number = _tokens(inner)
                if word.endswith(_SWITCHES) or (within and word in _SWITCHES_WITHIN):
                    asked = asked or not (_is_off(inner) or word.startswith(_ONLY_SHOWN))
                elif number is not None:
                    budgets.append(number)
    yield budgets, asked


def _word(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _is_about_thinking(word: str) -> bool:
    return any(part in word for part in _ABOUT_THINKING)


_PLAIN = frozenset(name for name in CHAT_PARAMETERS if not _is_about_thinking(_word(name)))
"""Fields whose numbers and texts tell nothing of thinking; most requests have no others."""


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for inner in value:
            yield from _flat(inner)
    else:
        yield value


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
