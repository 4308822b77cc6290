"""What is remembered of a response whose pictures are being made: how far it has come, and what each of them is bought
by. Neither its prompt nor a picture is remembered; what it says is part of its answer.

    {"response": {…}, "cost": {"usd": "0.01"} or null, "pictures": {"1": {"exchange": …, "action": …, "order": {…}}}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.wire.answer_cost import AnswerCost
from gateway.wire.writable import dump_json


def with_picture(
    order: bytes,
    response: Mapping[str, Any],
    cost: AnswerCost | None,
    place: int,
    exchange: str,
    action: str,
    picture: bytes,
) -> bytes:
    """The memory of a job, with one more picture that is about to be bought. ``order``: the memory until now.

    ``response``: as far as it has come. ``cost``: of its chat; None if costs are not told. ``place``: of the picture's
    item. ``exchange``: by which it is bought. ``picture``: what is remembered of its order (images/resumed.py).
    """
    pictures = dict(orjson.loads(order).get("pictures") or {})
    pictures[str(place)] = {"exchange": exchange, "action": action, "order": orjson.loads(picture)}
    output = [{**item, "result": None} if item.get("result") else item for item in response["output"]]
    told = None if cost is None else {"usd": cost.usd}
    return dump_json({"response": {**response, "output": output}, "cost": told, "pictures": pictures}, heavy=True)


def pictures_in(order: bytes) -> Mapping[int, Mapping[str, Any]]:
    """Place → what is remembered of the picture there; empty for what is no memory of a response's pictures."""
    try:
        known = orjson.loads(order)
    except orjson.JSONDecodeError:
        return {}
    pictures = known.get("pictures") if isinstance(known, dict) else None
    return {int(place): picture for place, picture in pictures.items()} if isinstance(pictures, dict) else {}


def response_in(order: bytes) -> str:
    """The id of the response that a job's memory is of; empty if it is of none."""
    known = orjson.loads(order)
    api = known.get("api") or {}
    if "response" in known:
        return str(known["response"]["id"])
    return str(api["id"]) if api.get("api") == "responses" else ""


def is_behind(order: bytes) -> bool:
    """Whether the response is made in the background: its client was answered before it ended."""
    known = orjson.loads(order)
    asked = known.get("response") or (known.get("api") or {}).get("asked") or {}
    return bool(asked.get("background"))
