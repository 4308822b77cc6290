"""Reading the usage that an upstream states, in whichever vendor's words, and writing it in OpenAI's.

What differs is not only the names. OpenAI's ``prompt_tokens`` include what was cached; Anthropic's ``input_tokens`` do
not. OpenAI's ``completion_tokens`` include reasoning; Google's ``candidatesTokenCount`` and xAI's ``completion_tokens``
do not, but their totals do. Here input is all input and output is all output that is billed. Figures are checked like
any input: what is implausible is ignored, and no part is larger than its whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gateway.core.types import Confidence, Usage

# No answer uses more; a greater figure is a fault, which would be charged for.
_MOST_TOKENS = 100_000_000
_MOST_CALLS = 1000

_GOOGLES = frozenset({"promptTokenCount", "prompt_token_count"})
_CACHED_BESIDE = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
"""Anthropic's words for tokens that its ``input_tokens`` leave out; relays write them beside OpenAI's words as well."""

_CACHED = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens", "cache_creation_input_tokens")
_BY_LIFETIME = ("cache_write_tokens_details", "cache_creation_token_details", "cache_creation")
_USUAL_LIFETIMES = ("ttl_30m_tokens", "ephemeral_5m_input_tokens")
_CALLS = ("num_search_queries", "web_search_calls", "web_search_requests", "num_sources_used")
"""Perplexity's, others', and xAI's words for what a search costs by."""


_CALL_WORDS = frozenset({"server_tool_use", "server_side_tool_usage_details", *_CALLS})
_WORDS_OF_THE_CACHE = frozenset({*_CACHED, *_WRITTEN, *_BY_LIFETIME})
_PART_WORDS = _WORDS_OF_THE_CACHE | {"image_tokens", "audio_tokens", "reasoning_tokens", "thinking_tokens"}
"""All that is looked for among details. Most answers have next to none of it."""


class _Parts(NamedTuple):
    """The parts of some tokens; what is not stated is 0."""

    cached: int = 0
    written: int = 0
    for_hour: int = 0
    for_12h: int = 0
    images: int = 0
    audio: int = 0
    reasoning: int = 0


_NO_PARTS = _Parts()
_ZEROS = (0, 0)
_NO_DETAILS: Mapping[str, Any] = {}


def read_usage(usage: object) -> Usage | None:
    """An upstream's ``usage`` object, or None if it is empty or implausible.

    Stated zeros are believed: an estimate instead would charge for what the upstream gave away. What the total has
    beyond its parts was generated unseen; it is measured where the details say so, too, else estimated.
    """
    if type(usage) is not dict:
        return None
    found = _read(usage)
    return found if found is not None or not usage else _read(_in_whole_numbers(usage))


def _read(usage: dict[str, Any]) -> Usage | None:
    if not _GOOGLES.isdisjoint(usage):
        return _read_googles(usage)
    pair, raw = _pair(usage, "prompt_tokens", "completion_tokens"), False
    if pair is None or pair == _ZEROS:  # a relay that writes both pairs may fill in one of them only
        other = _pair(usage, "input_tokens", "output_tokens")
        if other is not None and (pair is None or other != _ZEROS):
            pair, raw = other, True
    if pair is None:
        return None
    prompt, completion = pair
    made = _parts(_details(usage, "completion_tokens_details", "output_tokens_details"))
    sent = _sent_parts(usage)
    if not _CACHED_BESIDE.isdisjoint(usage):
        beside = sent.cached + sent.written
        total = tokens_in(usage, "total_tokens")
        if raw or prompt < beside or total == prompt + completion + beside:
            prompt += beside
    completion, confidence = _with_unseen(usage, prompt, completion, made.reasoning)
    return _usage(prompt, completion, sent, made, calls_in(usage), confidence)


def _in_whole_numbers(usage: dict[str, Any]) -> dict[str, Any]:
    """A usage whose figures are whole numbers written as fractions (``100.0``), or that leaves out what the total has
    beyond the input.
    """
    whole = {
        name: {inner: _whole(one) for inner, one in value.items()} if type(value) is dict else _whole(value)
        for name, value in usage.items()
    }
    total = tokens_in(whole, "total_tokens") if _CACHED_BESIDE.isdisjoint(whole) else None
    for sent, made in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
        tokens = tokens_in(whole, sent)
        if whole.get(made) is None and tokens is not None and total is not None and total > tokens:
            whole[made] = total - tokens
    return whole


def _whole(value: object) -> object:
    return int(value) if type(value) is float and value.is_integer() else value


def write_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's ``usage`` object."""
    sent = {"cached_tokens": usage.cached_input_tokens}
    sent |= _stated(
        cache_write_tokens=usage.cache_write_tokens,
        audio_tokens=usage.audio_input_tokens,
        image_tokens=usage.image_input_tokens,
    )
    made = _stated(
        reasoning_tokens=usage.reasoning_tokens,
        audio_tokens=usage.audio_output_tokens,
        image_tokens=usage.image_output_tokens,
    )
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": sent,
        **({"completion_tokens_details": made} if made else {}),
    }


def usage_for_clients(stated: dict[str, Any], usage: Usage) -> dict[str, Any]:
    """What an upstream stated, for clients that read OpenAI's words: as it came if it has those, else with them.

    ``usage``: what was read of it.
    """
    pair = _pair(stated, "prompt_tokens", "completion_tokens")
    if pair is None or (pair == _ZEROS and (usage.input_tokens or usage.output_tokens)):
        return {**stated, **write_usage(usage)}
    return stated if type(stated.get("total_tokens")) is int else {**stated, "total_tokens": sum(pair)}


def usage_of(document: Mapping[str, Any]) -> Any:
    """What an answer or a chunk says under ``usage``, or under Google's name for it."""
    return document.get("usage") or document.get("usageMetadata")


def tier_in(document: Mapping[str, Any]) -> str | None:
    """The service tier that an answer or a chunk names, itself or in its usage; None if it names none.

    Anthropic's fast mode is a ``speed`` beside its tier.
    """
    tier, usage = document.get("service_tier"), document.get("usage")
    if type(usage) is dict:
        if usage.get("speed") == "fast":
            return "fast"
        if type(tier) is not str or not tier.strip():
            tier = usage.get("service_tier")
    return tier[:64] if type(tier) is str and tier.strip() else None


def tokens_in(stated: Mapping[str, Any], *names: str) -> int | None:
    """The first of these figures that is a plausible number of tokens; None if none is."""
    for name in names:
        value = stated.get(name)
        if type(value) is int and 0 <= value <= _MOST_TOKENS:
            return value
    return None


def calls_in(usage: Mapping[str, Any]) -> int:
    """The calls of what is not counted in tokens, such as web searches, that a usage names."""
    if _CALL_WORDS.isdisjoint(usage):
        return 0
    served = usage.get("server_tool_use")  # Anthropic's
    by_tool = usage.get("server_side_tool_usage_details")  # xAI's, a figure for each tool
    if isinstance(served, dict):
        found = tokens_in(served, "web_search_requests")
    elif isinstance(by_tool, dict):
        found = sum(value for value in by_tool.values() if type(value) is int and value > 0)
    else:
        found = tokens_in(usage, *_CALLS)
    return found if found is not None and found <= _MOST_CALLS else 0


def _read_googles(usage: dict[str, Any]) -> Usage | None:
    prompt, candidates, total = (
        tokens_in(usage, name, _snake(name)) for name in ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")
    )
    by_tools, cached, thoughts = (
        tokens_in(usage, name, _snake(name)) or 0
        for name in ("toolUsePromptTokenCount", "cachedContentTokenCount", "thoughtsTokenCount")
    )
    if prompt is None or (candidates is None and total is None and not thoughts):
        return None
    if candidates is None:  # it is left out where it would be 0
        candidates = max(0, (total or 0) - prompt - by_tools - thoughts)
    sent = _by_modality(usage, "promptTokensDetails", "toolUsePromptTokensDetails")
    made = _by_modality(usage, "candidatesTokensDetails")
    return _usage(
        prompt + by_tools,
        candidates + thoughts,
        sent._replace(cached=cached),
        made._replace(reasoning=thoughts),
        calls_in(usage),
        "measured",
    )


def _by_modality(usage: dict[str, Any], *names: str) -> _Parts:
    """Google's details: a list of modalities, each with its tokens."""
    counts = {"IMAGE": 0, "AUDIO": 0}
    for name in names:
        listed = usage.get(name) or usage.get(_snake(name))
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and (modality := entry.get("modality")) in counts:
                counts[modality] += tokens_in(entry, "tokenCount", "token_count") or 0
    return _Parts(images=counts["IMAGE"], audio=counts["AUDIO"])


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _pair(usage: Mapping[str, Any], sent: str, made: str) -> tuple[int, int] | None:
    prompt, completion = usage.get(sent), usage.get(made)
    if (
        type(prompt) is int
        and type(completion) is int
        and 0 <= prompt <= _MOST_TOKENS
        and 0 <= completion <= _MOST_TOKENS
    ):
        return prompt, completion
    return None


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        one = usage.get(name)
        if type(one) is dict and one:
            return one
    return _NO_DETAILS


def _sent_parts(usage: Mapping[str, Any]) -> _Parts:
    """The parts of the input: OpenAI's details first, then what vendors write beside them."""
    details = _parts(_details(usage, "prompt_tokens_details", "input_tokens_details"))
    beside = _parts(usage)
    if beside is _NO_PARTS and not usage.get("prompt_cache_hit_tokens"):
        return details
    cached = details.cached or beside.cached or tokens_in(usage, "prompt_cache_hit_tokens") or 0  # DeepSeek's
    written = details if details.written else beside
    return details._replace(cached=cached, written=written.written, for_hour=written.for_hour, for_12h=written.for_12h)


def _parts(details: Mapping[str, Any]) -> _Parts:
    if _PART_WORDS.isdisjoint(details) or not any(details.values()):
        return _NO_PARTS
    details = {name: value for name, value in details.items() if value and name in _PART_WORDS}
    if not details:
        return _NO_PARTS
    if _WORDS_OF_THE_CACHE.isdisjoint(details):
        return _Parts(
            images=tokens_in(details, "image_tokens") or 0,
            audio=tokens_in(details, "audio_tokens") or 0,
            reasoning=tokens_in(details, "reasoning_tokens", "thinking_tokens") or 0,
        )
    lifetimes = _details(details, *_BY_LIFETIME)
    for_hour = tokens_in(lifetimes, "ephemeral_1h_input_tokens") or 0
    for_12h = tokens_in(lifetimes, "ttl_12h_tokens") or 0
    by_lifetime = for_hour + for_12h + (tokens_in(lifetimes, *_USUAL_LIFETIMES) or 0)
    return _Parts(
        cached=_largest(details, _CACHED),
        written=max(_largest(details, _WRITTEN), by_lifetime),
        for_hour=for_hour,
        for_12h=for_12h,
        images=tokens_in(details, "image_tokens") or 0,
        audio=tokens_in(details, "audio_tokens") or 0,
        reasoning=tokens_in(details, "reasoning_tokens", "thinking_tokens") or 0,
    )


def _largest(details: Mapping[str, Any], names: Iterable[str]) -> int:
    return max(tokens_in(details, name) or 0 for name in names)


def _with_unseen(usage: Mapping[str, Any], prompt: int, completion: int, reasoning: int) -> tuple[int, Confidence]:
    """The completion with the reasoning that the vendor counts beside it, and how sure that is."""
    total = usage.get("total_tokens")
    if type(total) is not int or total > _MOST_TOKENS or (unseen := total - prompt - completion) <= 0:
        return completion, "measured"
    return completion + unseen, "measured" if unseen == reasoning else "estimated"


def _usage(prompt: int, completion: int, sent: _Parts, made: _Parts, calls: int, confidence: Confidence) -> Usage:
    if sent is _NO_PARTS and made is _NO_PARTS:
        return Usage(prompt, 0, completion, confidence=confidence, calls=calls)
    cached = min(sent.cached, prompt)
    written = min(sent.written, prompt - cached)
    images = min(sent.images, prompt)
    made_images = min(made.images, completion)
    for_12h = min(sent.for_12h, written)
    return Usage(
        prompt,
        cached,
        completion,
        confidence=confidence,
        image_input_tokens=images,
        cache_write_tokens=written,
        image_output_tokens=made_images,
        audio_input_tokens=min(sent.audio, prompt - images),
        audio_output_tokens=min(made.audio, completion - made_images),
        reasoning_tokens=min(made.reasoning, completion),
        calls=calls,
        cache_write_hour_tokens=min(sent.for_hour, written - for_12h),
        cache_write_12h_tokens=for_12h,
    )


def _stated(**counts: int) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
