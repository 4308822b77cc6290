"""Any model as a reasoning model of OpenAI's, which refuses what models before it took, in OpenAI's words.

Models of that name do so anyway (chat/reasoning_rules.py). What asks for none of it is answered well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.chat.reasoning_rules import STRICTEST, check_as
from gateway.sandbox.chat.rule_words import Refusal
from gateway.sandbox.faults.playback import ScenarioContext, play_honestly, play_reply
from gateway.sandbox.wire.answers import Json
from gateway.sandbox.wire.errors import openai_refusal
from gateway.sandbox.wire.steps import Step


def refuses_max_tokens(context: ScenarioContext) -> Iterator[Step]:
    """Only ``max_tokens`` is refused."""
    limit = _json(context).get("max_tokens")
    return _checked(context, {} if limit is None else {"max_tokens": limit})


def reasoning_model(context: ScenarioContext) -> Iterator[Step]:
    """All that GPT-6 refuses on /v1/chat/completions: ``max_tokens``, ``stop``, a temperature, function tools."""
    return _checked(context, _json(context))


def _checked(context: ScenarioContext, body: Json) -> Iterator[Step]:
    try:
        check_as(STRICTEST, body)
    except Refusal as refusal:
        yield from play_reply(context, openai_refusal(refusal.message, refusal.param, refusal.code))
    else:
        yield from play_honestly(context)


def _json(context: ScenarioContext) -> Json:
    try:
        body: Any = orjson.loads(context.request.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
