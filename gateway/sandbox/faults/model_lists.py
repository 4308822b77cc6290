"""Lists of models as upstreams answer them: with other models or dates than usual, in odd shapes, in senseless ones.

They play on ``GET /v1/models`` only. What is wrong with any answer (``html_200``, ``key_invalid``, ``redirect``,
``stall_head``, ``trickle``, ``garbage`` …) plays there too where the path is named: ``html_200;path=/v1/models``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox.chat.models import MODELS, model_entry
from gateway.sandbox.faults.playback import Play, ScenarioContext, pause_for, play_reply, reply_head
from gateway.sandbox.wire.answers import Reply, json_reply
from gateway.sandbox.wire.options import Value
from gateway.sandbox.wire.steps import Send, Step


@dataclass(frozen=True, slots=True)
class ModelListScenario:
    """One way to answer. ``values``: its own parameters' defaults."""

    name: str
    summary: str
    play: Play = field(repr=False)
    values: Mapping[str, Value] = field(default_factory=dict)


def _document(data: object) -> dict[str, Any]:
    return {"object": "list", "data": data}


def more(context: ScenarioContext) -> Iterator[Step]:
    """The usual list and one model more, or in place of the usual one of that name; its date as it is written."""
    name, date = context.text("id"), context.text("shutdown")
    entries = [model_entry(usual) for usual in MODELS if usual != name]
    entries.append(model_entry(name, date or None, context.text("owner")))
    yield from play_reply(context, json_reply(200, _document(entries)))


def bare(context: ScenarioContext) -> Iterator[Step]:
    yield from play_reply(context, json_reply(200, [model_entry(name) for name in MODELS]))


def texts(context: ScenarioContext) -> Iterator[Step]:
    yield from play_reply(context, json_reply(200, _document(MODELS)))


def named(context: ScenarioContext) -> Iterator[Step]:
    yield from play_reply(context, json_reply(200, {"models": [{"name": name, "size": 1} for name in MODELS]}))


def empty(context: ScenarioContext) -> Iterator[Step]:
    yield from play_reply(context, json_reply(200, _document([])))


def wrong_types(context: ScenarioContext) -> Iterator[Step]:
    """One honest model among entries that are none, and fields that are not what they should be."""
    odd: list[Any] = [None, 7, True, [], {}, {"id": None}, {"id": 7}, {"id": ""}, {"id": "two words"}, {"id": "all-*"}]
    odd += [{"id": "a\nb"}, {"id": "x" * 300}, {"id": ["gpt-4o"]}, {"object": "model"}]
    odd.append({"id": "odd-but-sane", "created": "then", "owned_by": {"name": "me"}, "shutdown_date": 20270114})
    yield from play_reply(context, json_reply(200, _document([*odd, model_entry("gpt-4o")])))


def many(context: ScenarioContext) -> Iterator[Step]:
    entries = [model_entry(f"sandbox-model-{number}") for number in range(context.count("count"))]
    yield from play_reply(context, json_reply(200, _document(entries)))


def huge(context: ScenarioContext) -> Iterator[Step]:
    """A list of so many MiB, most of it one owner's name."""
    owner = "x" * (context.count("mib") * 1024 * 1024)
    yield from play_reply(context, json_reply(200, _document([model_entry("gpt-4o", owned_by=owner)])))


def slow(context: ScenarioContext) -> Iterator[Step]:
    """The head and half of the list, then a pause (below 0: for ever), then the rest."""
    whole = json_reply(200, _document([model_entry(name) for name in MODELS]))
    half = len(whole.body) // 2
    yield Send(reply_head(context, whole) + whole.body[:half])
    yield pause_for(context.number("seconds"))
    yield Send(whole.body[half:])


def none(context: ScenarioContext) -> Iterator[Step]:
    """The 404 of a provider without such a route, which is a web page."""
    page = b"<!DOCTYPE html><html><body>Sandbox: 404 page not found</body></html>"
    yield from play_reply(context, Reply(404, page, content_type=b"text/html"))


_MORE: Mapping[str, Value] = {"id": "sandbox-new-model", "shutdown": "", "owner": "sandbox-vendor"}

_TABLE = (
    ModelListScenario("model_list", "a list with one model more (id=, shutdown=, owner=)", more, _MORE),
    ModelListScenario("model_list_bare", "a list of models without anything around it", bare),
    ModelListScenario("model_list_texts", "a list of models that are plain names", texts),
    ModelListScenario("model_list_named", 'a list of models as {"models": [{"name"}]}', named),
    ModelListScenario("model_list_empty", "a list without a model", empty),
    ModelListScenario("model_list_odd", "a list of models with entries and fields of wrong types", wrong_types),
    ModelListScenario("model_list_many", "a list of very many models", many, {"count": 6000}),
    ModelListScenario("model_list_huge", "a list of models too long to be read", huge, {"mib": 9}),
    ModelListScenario("model_list_slow", "half a list of models, then silence", slow, {"seconds": -1.0}),
    ModelListScenario("model_list_none", "404 for the list of models", none),
)

MODEL_LISTS: Mapping[str, ModelListScenario] = {scenario.name: scenario for scenario in _TABLE}
