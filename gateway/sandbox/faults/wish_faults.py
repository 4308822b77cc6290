"""Servers that refuse a stream, or the options of one, in the words in which such servers are known to do it.

They answer well what does not ask for it, whole and, if told so, only after a long silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from gateway.sandbox.faults.playback import ScenarioContext, pause_for, play_events, play_honestly, play_reply
from gateway.sandbox.wire.answers import Event, EventStream, Json, Reply, json_reply
from gateway.sandbox.wire.steps import Step

_INVALID = "invalid_request_error"


def _openai(message: str, param: str | None = None, code: str | None = None) -> Json:
    return {"error": {"message": message, "type": _INVALID, "param": param, "code": code}}


_STREAM_WORDS: Mapping[str, Json] = {
    "verify": _openai(
        "Your organization must be verified to stream this model. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify Organization.",
        "stream",
        "unsupported_value",
    ),
    "unsupported": _openai(
        "Unsupported value: 'stream' does not support true with this model.", "stream", "unsupported_value"
    ),
    "plain": {"error": "streaming is not supported for this model"},
    "detail": {"detail": "This model does not support streaming."},
    "audio": _openai(
        "audio.format 'wav' is not supported when stream=true. Supported values are: 'pcm16'.", "audio.format"
    ),
    "json": _openai("response_format is not supported with streaming.", "response_format"),
    "relayed": {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {"raw": '{"error":{"message":"stream must be false for this model"}}', "provider_name": "X"},
        }
    },
    "tools": _openai("Cannot use tools with stream"),
    "validation": {
        "detail": [{"type": "literal_error", "loc": ["body", "stream"], "msg": "Input should be False", "input": True}]
    },
}
"""How servers refuse a stream."""

_OPTIONS_WORDS: Mapping[str, Json] = {
    "openai": _openai("Unknown parameter: 'stream_options'.", "stream_options", "unknown_parameter"),
    "unrecognized": _openai("Unrecognized request argument supplied: stream_options"),
    "fastapi": {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", "stream_options"],
                "msg": "Extra inputs are not permitted",
                "input": {"include_usage": True},
            }
        ]
    },
    "vllm": {
        "object": "error",
        "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not "
        "permitted', 'input': {'include_usage': True}}]",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "go": {"error": {"message": 'json: unknown field "stream_options"'}},
    "usage": _openai("include_usage is not supported.", "stream_options.include_usage"),
    "text": {"message": "additional properties are not allowed ('stream_options' was unexpected)"},
}
"""How servers refuse its options."""

STREAM_WORDS = tuple(_STREAM_WORDS)
OPTIONS_WORDS = tuple(_OPTIONS_WORDS)


def refuses_stream(context: ScenarioContext) -> Iterator[Step]:
    """No stream at all; ``seconds`` of silence before a whole answer."""
    return _refusing(context, lambda body: bool(body.get("stream")), _STREAM_WORDS)


def refuses_audio_stream(context: ScenarioContext) -> Iterator[Step]:
    """No stream of audio but in OpenAI's one format."""

    def odd(body: Json) -> bool:
        audio = body.get("audio")
        return bool(body.get("stream")) and isinstance(audio, dict) and audio.get("format") != "pcm16"

    return _refusing(context, odd, _STREAM_WORDS)


def refuses_json_stream(context: ScenarioContext) -> Iterator[Step]:
    """No stream of JSON."""

    def odd(body: Json) -> bool:
        form = body.get("response_format")
        return bool(body.get("stream")) and isinstance(form, dict) and form.get("type") != "text"

    return _refusing(context, odd, _STREAM_WORDS)


def refuses_stream_options(context: ScenarioContext) -> Iterator[Step]:
    """A stream, but no options of one; such servers tell its usage nowhere."""
    return _refusing(context, lambda body: body.get("stream_options") is not None, _OPTIONS_WORDS)


def refuses_wishes(context: ScenarioContext) -> Iterator[Step]:
    """First the options, then the stream."""
    options = _json(context).get("stream_options") is not None
    return refuses_stream_options(context) if options else refuses_stream(context)


def _refusing(context: ScenarioContext, odd: Callable[[Json], bool], words: Mapping[str, Json]) -> Iterator[Step]:
    if not odd(_json(context)):
        if not isinstance(context.answer, EventStream) and context.number("seconds"):
            yield pause_for(context.number("seconds"))
        yield from play_honestly(context)
        return
    said = {**(words.get(context.text("words")) or next(iter(words.values()))), "sandbox": "a simulated refusal"}
    match context.text("inside"):
        case "event":
            yield from play_events(context, [Event(orjson.dumps(_with_code(said, context.count("code"))))])
        case "body":
            yield from play_reply(context, json_reply(200, _with_code(said, context.count("code"))))
        case "text":
            yield from play_reply(context, Reply(context.count("code"), _message(said).encode(), b"text/plain"))
        case _:
            yield from play_reply(context, json_reply(context.count("code"), said))


def _with_code(said: Json, code: int) -> Json:
    """The error as it looks inside a 200: with a number of its own."""
    error = said.get("error")
    fields = error if isinstance(error, dict) else {"message": _message(said)}
    return {**said, "error": {**fields, "code": fields.get("code") or code}}


def _message(said: Json) -> str:
    error = said.get("error", said)
    words = error.get("message") if isinstance(error, dict) else error
    return str(words or said.get("detail"))


def _json(context: ScenarioContext) -> Json:
    try:
        body: Any = orjson.loads(context.request.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
