"""What a chat request asks for that has a price of its own: a service tier, searches, thinking, a place in a cache.

It is read for the reservation, which must hold for anything that may come of the request, and for the bill where the
answer does not say. Every vendor has other words for it; what is not known here goes upstream all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.billing_terms import USUAL_TIERS, Asked, Lifetime, named_tier
from gateway.core.types import Usage
from gateway.wire.asked_thinking import most_thinking
from gateway.wire.chat_request import MAX_CHOICES
from gateway.wire.known_chat import OWN_TOOLS, always_searches, in_envelopes, unknown_asked
from gateway.wire.writable import dump_json

UNBOUNDED_CALLS = 10
"""Calls a tool of the provider's is assumed to make at most if the request does not say."""

_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_UNKNOWN_TIER = "of more than one word"
_USUAL_SPEEDS = ("standard", "default", "normal")
_SEARCHING_MUCH = "deep-research"
_HOURS: Mapping[str, Lifetime] = {"1h": "hour", "12h": "12h"}
_LONGEST_FIRST: tuple[Lifetime, ...] = ("12h", "hour", "usual")
_ANTHROPICS_MARK = "cache_control"
_MARKS = frozenset({_ANTHROPICS_MARK, "prompt_cache_breakpoint"})


def asked_of(body: Mapping[str, Any], model: str) -> Asked:
    """What a request asks for beside tokens.

    ``body``: has passed ``parse_chat_request``. ``model``: the upstream's name.
    """
    return Asked(_dearest_tier(body), _most_calls(body, model), _longest(_lifetimes(body)))


def asked_tier(body: Mapping[str, Any]) -> str | None:
    """The service tier that a request asks for; None if it names none. Anthropic's fast mode is a ``speed``."""
    if body.get("speed") == "fast":
        return "fast"
    return _text(body.get("service_tier"))


def _dearest_tier(body: Mapping[str, Any]) -> str | None:
    """The tier to reserve for: what is no text, or not alone, is a tier that is not known."""
    speed, tier = body.get("speed"), body.get("service_tier")
    if any(in_envelopes(body, "speed", "service_tier")):
        return _UNKNOWN_TIER
    if (speed and not isinstance(speed, str)) or (tier and not isinstance(tier, str)):
        return _UNKNOWN_TIER
    speed, tier = _text(speed), _text(tier)
    if speed is None or speed.strip().lower() in _USUAL_SPEEDS:
        return tier
    return speed if named_tier(tier) in (None, *USUAL_TIERS) else _UNKNOWN_TIER


def _text(value: object) -> str | None:
    return value[:64] if isinstance(value, str) and value.strip() else None


def as_asked(usage: Usage, body: Mapping[str, Any], model: str) -> Usage:
    """The usage of a whole answer with what the request tells of it and the usage does not.

    An answer with web search is one call if the usage names none. What was written to a cache is kept as long as the
    request asked; where it asked for several lifetimes, it counts as the longest, and as estimated.
    """
    if not usage.calls and _searches(body, model):
        usage = replace(usage, calls=1)
    written = usage.cache_write_tokens
    if not written or usage.cache_write_hour_tokens or usage.cache_write_12h_tokens:
        return usage
    lifetimes = _lifetimes(body)
    longest = _longest(lifetimes)
    if longest == "usual":
        return usage
    if len(lifetimes) > 1:
        usage = replace(usage, confidence="estimated")
    if longest == "hour":
        return replace(usage, cache_write_hour_tokens=written)
    return replace(usage, cache_write_12h_tokens=written)


def most_beside(body: Mapping[str, Any], model: str) -> tuple[int, int]:
    """The output tokens of one choice that may come on top of the client's bound: of thinking, which count against what
    the model can write, and of a prediction that was not used, which do not.
    """
    predictions = [one for one in (body.get("prediction"), *in_envelopes(body, "prediction")) if one]
    return most_thinking(body, model), sum(len(dump_json(one)) for one in predictions)


def most_choices(body: Mapping[str, Any]) -> int:
    """How many choices a request asks for at most, wherever it does."""
    named = (number for number in in_envelopes(body, "n") if type(number) is int)
    return min(max(body.get("n") or 1, *named, 1), MAX_CHOICES)


def most_asked_output(body: Mapping[str, Any]) -> int | None:
    """The client's bound for the output of each choice; None without one, or if it may not be the one that holds."""
    found = [body[name] for name in _BOUNDS if body.get(name) is not None]
    if not any(body.get(name) is not None for name in _BOUNDS[:2]) or any(type(one) is not int for one in found):
        return None
    return None if unknown_asked(body) else max(found)  # one of them may set another


def _searches(body: Mapping[str, Any], model: str) -> bool:
    """Whether the answer is a web search's, of which OpenAI's chat and Perplexity sell one with each answer."""
    return body.get("web_search_options") is not None or always_searches(model)


def _most_calls(body: Mapping[str, Any], model: str) -> int:
    """The most calls of all choices together. What a model sells with each answer no bound of the client's limits."""
    calls = 0
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") not in OWN_TOOLS and not isinstance(tool.get("function"), dict):
            calls += _bound(tool.get("max_uses"), UNBOUNDED_CALLS)
    search = body.get("search_parameters")
    if isinstance(search, dict):  # xAI's, which sells by the source
        calls += _bound(search.get("max_search_results"), 2 * UNBOUNDED_CALLS)
    if any(name != "search_parameters" for name in unknown_asked(body)):  # one of them may be a search
        calls += UNBOUNDED_CALLS
    if _searches(body, model):
        calls += UNBOUNDED_CALLS if _SEARCHING_MUCH in model else 1
    return calls * most_choices(body)


def _bound(value: object, otherwise: int) -> int:
    return value if type(value) is int and value >= 0 else otherwise


def _lifetimes(body: Mapping[str, Any]) -> set[Lifetime]:
    """How long what the request writes to the provider's cache is to be kept; several where its marks differ.

    OpenAI caches up to a place of its own choice beside the marks, unless it is told not to.
    """
    options = body.get("prompt_cache_options")
    told = options if isinstance(options, dict) else {}
    whole = _lifetime(told.get("ttl") or body.get("prompt_cache_retention"), "usual")
    found: set[Lifetime] = set()
    own_place = told.get("mode") != "explicit"
    for name, mark in _marks(body):
        found.add(_lifetime(mark.get("ttl") if isinstance(mark, dict) else None, whole))
        own_place = own_place and name != _ANTHROPICS_MARK
    return found | {whole} if own_place or not found else found


def _longest(lifetimes: set[Lifetime]) -> Lifetime:
    return next(one for one in _LONGEST_FIRST if one in lifetimes)


def _lifetime(ttl: Any, otherwise: Lifetime) -> Lifetime:
    return otherwise if not isinstance(ttl, str) else _HOURS.get(ttl, "usual")


def _marks(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The marks in a request that say where a part to be cached ends, by their names."""
    places: list[Any] = [body]
    tools = body.get("tools")
    places += tools if isinstance(tools, list) else []
    for message in body["messages"]:
        content = message.get("content")
        places += [message, *(content if isinstance(content, list) else [content])]
    for place in places:
        if isinstance(place, dict) and not _MARKS.isdisjoint(place):
            yield from ((name, place[name]) for name in _MARKS if place.get(name) is not None)
