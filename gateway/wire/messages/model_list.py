"""Models as Anthropic's SDKs and Claude Code read them: in that API's shape, by pages.

Its fields are those of anthropic-python 2.14, types/model_info.py; what is not known here (capabilities, lengths) is
left out, as it may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.core.errors import ClientError, invalid_request
from gateway.wire.field_checks import wrong_value

USUAL_PAGE, MOST_OF_A_PAGE = 20, 1000


def claude_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model of OpenAI's shape in Anthropic's. One whose end is known is deprecated."""
    shutdown = model.get("shutdown_date")
    told = {
        "type": "model",
        "id": model["id"],
        "display_name": model["id"],
        "created_at": datetime.fromtimestamp(model["created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active" if shutdown is None else "deprecated",
    }
    return told if shutdown is None else {**told, "retires_at": f"{shutdown}T00:00:00Z"}


def claude_page(models: Sequence[Mapping[str, Any]], asked: Mapping[str, str]) -> dict[str, Any]:
    """A page of models of OpenAI's shape. ``asked``: the query's ``limit``, and ``after_id`` or ``before_id``.

    Raises ClientError 400 with ``param`` naming the field.
    """
    limit = _limit(asked.get("limit"))
    ids = [model["id"] for model in models]
    first, last = 0, len(ids)
    if (after := asked.get("after_id")) is not None:
        first = _place(ids, "after_id", after) + 1
    elif (before := asked.get("before_id")) is not None:
        last = _place(ids, "before_id", before)
        first = max(0, last - limit)
    page = [claude_model(model) for model in models[first : min(last, first + limit)]]
    return {
        "data": page,
        "has_more": first > 0 if "before_id" in asked and "after_id" not in asked else first + len(page) < len(ids),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return USUAL_PAGE
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= limit <= MOST_OF_A_PAGE:
        raise wrong_value("limit", f"it must be at least 1 and at most {MOST_OF_A_PAGE}")
    return limit


def _place(ids: Sequence[str], name: str, id: str) -> int:
    if id not in ids:
        raise _no_model(name)
    return ids.index(id)


def _no_model(name: str) -> ClientError:
    return invalid_request(f"Invalid value for '{name}': no such model is listed.", param=name, code="invalid_value")
