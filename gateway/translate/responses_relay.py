"""``POST /v1/responses`` relayed to an upstream that has it: no byte of the answer is changed.

What is kept at the upstream is known to the key that it was made with, and to no other; so who asks notes where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.translate.relay import RelayConversation
from gateway.wire.field_checks import a_boolean, a_model_name, an_integer
from gateway.wire.relay_routes import AnswerForm, RelayRoute
from gateway.wire.relay_usage import event_of_response, tokens_of_completion


def _streamed(fields: Any) -> AnswerForm:
    return AnswerForm.EVENTS if fields.get("stream") is True else AnswerForm.WHOLE


RESPONSES = RelayRoute(
    "/v1/responses",
    "responses",
    {"model": a_model_name, "stream": a_boolean, "max_output_tokens": an_integer(1)},
    _streamed,
    usage=tokens_of_completion,
    event=event_of_response,
    slow=True,
    cost_in_usage=False,
)


def ids_made(conversation: RelayConversation) -> Iterator[str]:
    """The ids that the answer gave its client: of the response, and of what is in it."""
    document = conversation.document
    response = document.get("response", document)
    if not isinstance(response, dict):
        return
    items = response.get("output")
    for named in (response, *(items if isinstance(items, list) else ())):
        if isinstance(named, dict) and isinstance(id := named.get("id"), str) and id:
            yield id
