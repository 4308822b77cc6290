"""What OpenAI's reasoning models refuse that models before them took, by the model's name.

They take no ``max_tokens`` and, but for the first of them, no ``stop``. A temperature, ``top_p``, ``logprobs`` and
the like they take only without reasoning, where they can do without. Some take function tools in chats only then, one
never. Rules as of 2026-11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.sandbox.chat.rule_words import Refusal, listed, wrong_value
from gateway.sandbox.wire.answers import Json

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SAMPLING = ("top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs")
_USUAL = {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False}
"""Values that ask for nothing, which are taken."""


@dataclass(frozen=True, slots=True)
class ReasoningModel:
    """A family of models. ``efforts``: those it takes in a chat. ``usual``: the effort of a request that names none.

    ``stop``: whether it takes stop sequences. ``tools``: when it takes function tools in a chat.
    """

    efforts: tuple[str, ...]
    usual: str = "medium"
    stop: bool = False
    tools: str = "always"  # always | only without reasoning | never


_LOW_TO_HIGH = ("low", "medium", "high")
_TO_XHIGH = (*_LOW_TO_HIGH, "xhigh")
_FROM_NONE = ("none", *_TO_XHIGH)

_FAMILIES = {
    "o1": ReasoningModel(_LOW_TO_HIGH, stop=True),
    "o3": ReasoningModel(_LOW_TO_HIGH),
    "o4": ReasoningModel(_LOW_TO_HIGH),
    "gpt-5": ReasoningModel(("minimal", *_LOW_TO_HIGH)),
    "gpt-5.1": ReasoningModel(("none", *_LOW_TO_HIGH), "none"),
    "gpt-5.2": ReasoningModel(_FROM_NONE, "none"),
    "gpt-5.3": ReasoningModel(_FROM_NONE, "none"),
    "gpt-5.4": ReasoningModel(_FROM_NONE, "none"),
    "gpt-5.5": ReasoningModel(_FROM_NONE),
    "gpt-5.6": ReasoningModel(_FROM_NONE),
    "gpt-6": ReasoningModel(_FROM_NONE),
    "gpt-6-astra": ReasoningModel(_TO_XHIGH, tools="never"),
    "gpt-6-luna": ReasoningModel(_FROM_NONE, tools="only without reasoning"),
    "gpt-6-sol": ReasoningModel(_FROM_NONE, tools="only without reasoning"),
    "gpt-6.1-sol": ReasoningModel(_TO_XHIGH),
    "gpt-6.1-terra": ReasoningModel((*_FROM_NONE, "max")),
    "gpt-6.2": ReasoningModel((*_TO_XHIGH, "max")),
}

STRICTEST = ReasoningModel(_FROM_NONE, tools="only without reasoning")
"""What the scenario ``reasoning_model`` plays for every model."""


def reasoning_model(model: str) -> ReasoningModel | None:
    """The family of a model, or None for one that does not reason. A vendor's prefix and a date do not matter."""
    name = model.rpartition("/")[2]
    if "chat" in name:
        return None
    found = [family for family in _FAMILIES if name == family or name.startswith((f"{family}-", f"{family}."))]
    return _FAMILIES[max(found, key=len)] if found else None


def check_reasoning(body: Json, *, strict: bool) -> None:
    """Raises Refusal for what the model that is asked for refuses.

    ``strict``: a model that does not reason refuses an effort.
    """
    model = reasoning_model(body["model"])
    if model is not None:
        check_as(model, body)
    elif strict and body.get("reasoning_effort") is not None:
        raise _unsupported("reasoning_effort")


def check_as(model: ReasoningModel, body: Json) -> None:
    """Raises Refusal for what a reasoning model refuses."""
    if body.get("max_tokens") is not None:
        raise _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    if body.get("stop") is not None and not model.stop:
        raise _unsupported("stop")
    effort = body.get("reasoning_effort")
    if effort is not None:
        _check_effort(model, effort)
    effort = effort or model.usual
    if effort != "none":
        _check_sampling(body)
    if body.get("tools") and (model.tools == "never" or (model.tools != "always" and effort != "none")):
        words = (
            f"Function tools with reasoning_effort are not supported for {body.get('model')} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        raise Refusal(words, "reasoning_effort")


def _check_effort(model: ReasoningModel, effort: Any) -> None:
    if effort not in _EFFORTS:
        raise wrong_value("reasoning_effort", effort, _EFFORTS)
    if effort not in model.efforts:
        words = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
        raise Refusal(
            f"{words} Supported values are: {listed(model.efforts)}.", "reasoning_effort", "unsupported_value"
        )


def _check_sampling(body: Json) -> None:
    temperature = body.get("temperature")
    if temperature is not None and temperature != 1:
        words = f"Unsupported value: 'temperature' does not support {temperature} with this model."
        raise Refusal(f"{words} Only the default (1) value is supported.", "temperature", "unsupported_value")
    for name in _SAMPLING:
        if body.get(name) is not None and body[name] != _USUAL.get(name):
            raise _unsupported(name)


def _unsupported(name: str, instead: str = "") -> Refusal:
    words = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
    return Refusal(words, name, "unsupported_parameter")
