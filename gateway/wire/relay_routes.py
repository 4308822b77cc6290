"""The routes that are relayed: one description each, of what is checked, how it is answered, and where its use stands.

Only what this gateway acts on is checked. Every other field, and every value of it, is the upstream's to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from gateway.core.types import OperationName, Usage
from gateway.wire.chat_request import MAX_CHOICES
from gateway.wire.field_checks import Check, a_boolean, a_model_name, an_integer, an_object
from gateway.wire.relay_usage import (
    EventFacts,
    completion_as_events,
    event_of_completion,
    event_of_speech,
    event_of_transcript,
    no_event,
    no_usage,
    tokens_of_completion,
    tokens_of_input,
    transcript_as_events,
    usage_of_recording,
)


class AnswerForm(StrEnum):
    """How a client is answered."""

    WHOLE = "whole"  # a document, or a text
    EVENTS = "events"
    BYTES = "bytes"  # a sound, as it comes


Fields = Mapping[str, Any]
AsEvents = Callable[[Fields], Sequence[Fields]]


@dataclass(frozen=True, slots=True)
class RelayRoute:
    """A relayed route.

    ``path``: at the client's side and the upstream's. ``operation``: of the targets that have it.
    ``is_form``: requests are multipart forms, not JSON.
    ``checks``: of the fields that are acted on; ``model`` must be there.
    ``form_of``: how a request is answered.
    ``slow``: a whole answer may be silent for minutes before its head.
    ``is_text``: a whole answer may be no JSON.
    ``answer``: the field that every whole answer has; empty for none.
    ``usage``, ``event``: read a whole answer, and an event.
    ``as_events``: a whole answer as events, for a client that asked for these.
    ``done``: its streams end in ``[DONE]``.
    ``asks_usage``: its streams tell their use if ``stream_options`` ask for it.
    ``cost_in_usage``: the answer's ``usage`` may say what the key is charged.
    ``default_kind``: the name in ``default_models``; empty for none.
    ``default_model``: what the API itself takes for a request that names no model; empty for none.
    """

    path: str
    operation: OperationName
    checks: Mapping[str, Check]
    form_of: Callable[[Fields], AnswerForm]
    answer: str = ""
    usage: Callable[[Fields], Usage | None] = no_usage
    event: Callable[[Fields], EventFacts] = no_event
    as_events: AsEvents | None = None
    is_form: bool = False
    slow: bool = False
    is_text: bool = False
    done: bool = False
    asks_usage: bool = False
    cost_in_usage: bool = True
    default_kind: str = ""
    default_model: str = ""


def _whole(fields: Fields) -> AnswerForm:
    return AnswerForm.WHOLE


def _streamed(fields: Fields) -> AnswerForm:
    return AnswerForm.EVENTS if fields.get("stream") in (True, "true", "True", "1") else AnswerForm.WHOLE


def _spoken(fields: Fields) -> AnswerForm:
    return AnswerForm.EVENTS if fields.get("stream_format") == "sse" else AnswerForm.BYTES


def _stream_options(value: Any, param: str) -> None:
    an_object(value, param)
    if value.get("include_usage") is not None:
        a_boolean(value["include_usage"], f"{param}.include_usage")


_MODEL: Mapping[str, Check] = {"model": a_model_name}

EMBEDDINGS = RelayRoute(
    "/v1/embeddings", "embeddings", _MODEL, _whole, "data", usage=tokens_of_input, default_kind="embeddings"
)
COMPLETIONS = RelayRoute(
    "/v1/completions",
    "completions",
    {
        **_MODEL,
        "n": an_integer(1, MAX_CHOICES),
        "best_of": an_integer(0, MAX_CHOICES),
        "max_tokens": an_integer(0),
        "stream": a_boolean,
        "stream_options": _stream_options,
    },
    _streamed,
    "choices",
    usage=tokens_of_completion,
    event=event_of_completion,
    as_events=completion_as_events,
    slow=True,
    done=True,
    asks_usage=True,
)
MODERATIONS = RelayRoute(
    "/v1/moderations",
    "moderations",
    _MODEL,
    _whole,
    "results",
    usage=tokens_of_input,
    default_model="omni-moderation-latest",
)
SPEECH = RelayRoute(
    "/v1/audio/speech", "speech", _MODEL, _spoken, usage=tokens_of_completion, event=event_of_speech, slow=True
)
TRANSCRIPTIONS = RelayRoute(
    "/v1/audio/transcriptions",
    "transcriptions",
    _MODEL,
    _streamed,
    "text",
    usage=usage_of_recording,
    event=event_of_transcript,
    as_events=transcript_as_events,
    is_form=True,
    slow=True,
    is_text=True,
)
TRANSLATIONS = RelayRoute(
    "/v1/audio/translations",
    "translations",
    _MODEL,
    _whole,
    "text",
    usage=usage_of_recording,
    is_form=True,
    slow=True,
    is_text=True,
)

RELAY_ROUTES: Mapping[str, RelayRoute] = MappingProxyType(
    {route.path: route for route in (EMBEDDINGS, COMPLETIONS, MODERATIONS, SPEECH, TRANSCRIPTIONS, TRANSLATIONS)}
)
"""Path → its description."""
