"""Any upstream as one that looks at every field of a chat as OpenAI does, and refuses what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.chat.field_rules import check_fields, check_names
from gateway.sandbox.chat.rule_words import Refusal
from gateway.sandbox.faults.playback import ScenarioContext, play_honestly, play_reply
from gateway.sandbox.wire.errors import openai_refusal
from gateway.sandbox.wire.steps import Step


def strict_fields(context: ScenarioContext) -> Iterator[Step]:
    """OpenAI's 400 for the first field that is unknown or wrong, in its words; the honest answer if there is none."""
    body: Any = orjson.loads(context.request.body or b"null")
    try:
        if isinstance(body, dict):  # else the honest answer says what is wrong
            check_names(body)
            check_fields(body)
    except Refusal as refusal:
        yield from play_reply(context, openai_refusal(refusal.message, refusal.param, refusal.code))
    else:
        yield from play_honestly(context)
