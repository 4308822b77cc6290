"""What the answers of relayed routes say of their use, and what their events are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.types import Usage
from gateway.wire.usage_reading import read_usage, tokens_in, usage_of

MOST_SECONDS = 1_000_000
"""The longest recording that is believed: more than eleven days."""


@dataclass(slots=True)
class EventFacts:
    """What one event of a stream says.

    ``content``: it brings the answer on. ``text``: the words it brings.
    ``ended``: how many of the answer's parts are complete with it.
    ``last``: the answer is complete with it.
    ``failed``: the upstream says by it that the answer failed, and how.
    ``usage``: what it states; ``usage_only``: it says nothing else.
    ``item``: the id of the item that begins with it; empty for none.
    """

    content: bool = False
    text: str = ""
    ended: int = 0
    last: bool = False
    failed: Any = None
    usage: Usage | None = None
    usage_only: bool = False
    item: str = ""


def no_usage(document: Mapping[str, Any]) -> Usage | None:
    return None


def tokens_of_input(document: Mapping[str, Any]) -> Usage | None:
    """The usage of embeddings and moderations, which have no output."""
    stated = usage_of(document)
    if not isinstance(stated, dict):
        return None
    tokens = tokens_in(stated, "prompt_tokens", "input_tokens", "total_tokens")
    return None if tokens is None else Usage(tokens)


def tokens_of_completion(document: Mapping[str, Any]) -> Usage | None:
    return read_usage(usage_of(document))


def usage_of_recording(document: Mapping[str, Any]) -> Usage | None:
    """The usage of a transcript: tokens, or a duration; else how long the recording is said to be."""
    stated = document.get("usage")
    if isinstance(stated, dict):
        if stated.get("type") == "duration" or ("seconds" in stated and "input_tokens" not in stated):
            return _recording(stated.get("seconds"), "measured")
        details = stated.get("input_token_details")
        if isinstance(details, dict):
            stated = {**stated, "input_tokens_details": details}
        if (usage := read_usage(stated)) is not None:
            return usage
    return _recording(document.get("duration"), "estimated")


def _recording(seconds: object, confidence: Any) -> Usage | None:
    if isinstance(seconds, str):  # of older answers
        try:
            seconds = float(seconds)
        except ValueError:
            return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    if not (math.isfinite(seconds) and 0 <= seconds <= MOST_SECONDS):
        return None
    if confidence == "estimated":  # a vendor that counts seconds counts whole ones
        seconds = math.ceil(seconds)
    return Usage(audio_milliseconds=math.ceil(seconds * 1000), confidence=confidence)


def event_of_completion(document: Mapping[str, Any]) -> EventFacts:
    """A chunk of ``/v1/completions``."""
    choices = document.get("choices")
    facts = EventFacts(usage=tokens_of_completion(document))
    if not isinstance(choices, list) or not choices:
        facts.usage_only = facts.usage is not None
        return facts
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        text = choice.get("text")
        if isinstance(text, str) and text:
            facts.text += text
            facts.content = True
        if isinstance(choice.get("finish_reason"), str):
            facts.ended += 1
            facts.content = True
    return facts


def event_of_transcript(document: Mapping[str, Any]) -> EventFacts:
    """An event of ``/v1/audio/transcriptions``: ``transcript.text.delta``, ``….segment``, ``….done``."""
    kind, text = document.get("type"), document.get("delta")
    if kind == "transcript.text.done":
        return EventFacts(content=True, last=True, usage=usage_of_recording(document))
    content = isinstance(kind, str) and kind.startswith("transcript.")
    return EventFacts(content=content, text=text if isinstance(text, str) else "")


def event_of_speech(document: Mapping[str, Any]) -> EventFacts:
    """An event of ``/v1/audio/speech``: ``speech.audio.delta``, ``speech.audio.done``."""
    kind = document.get("type")
    if kind == "speech.audio.done":
        return EventFacts(content=True, last=True, usage=tokens_of_completion(document))
    return EventFacts(content=kind == "speech.audio.delta")


_BEFORE_CONTENT = frozenset({"response.created", "response.in_progress", "response.queued"})
_LAST_OF_RESPONSE = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


def event_of_response(document: Mapping[str, Any]) -> EventFacts:
    """An event of ``/v1/responses``. One that says that it failed is the end, once anything was said before."""
    kind, response = document.get("type"), document.get("response")
    response = response if isinstance(response, dict) else {}
    if kind in _LAST_OF_RESPONSE:
        failed = response.get("error") or kind if kind == "response.failed" else None
        return EventFacts(content=True, last=True, usage=tokens_of_completion(response), failed=failed)
    if kind == "response.output_text.delta" and isinstance(delta := document.get("delta"), str):
        return EventFacts(content=True, text=delta)
    item = document.get("item") if kind == "response.output_item.added" else None
    id = item.get("id") if isinstance(item, dict) else None
    return EventFacts(
        content=isinstance(kind, str) and kind.startswith("response.") and kind not in _BEFORE_CONTENT,
        item=id if isinstance(id, str) else "",
    )


def no_event(document: Mapping[str, Any]) -> EventFacts:
    return EventFacts()


def completion_as_events(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A whole completion as the chunks that would have said the same: it has their shape."""
    return [document]


def transcript_as_events(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A whole transcript as the event that would have said the same, from a model that does not stream."""
    text = document.get("text")
    if not isinstance(text, str):
        return []
    told = {name: document[name] for name in ("logprobs", "usage") if name in document}
    return [{"type": "transcript.text.done", "text": text, **told}]
