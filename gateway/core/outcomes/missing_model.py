"""Errors that say that an upstream has no such model, where neither their code nor their status does.

Many answer it with 400 and words of their own, relays of the one-api family with 503 and "no available channel". Taken
for the request's fault, the other upstreams would not be asked; taken for the host's, one client's misspelt name would
send everybody's requests elsewhere. The words must name the model as what is missing: that a model does not support
something is the request's fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.late_patterns import compiled_late
from gateway.core.outcomes.error_codes import slug_of_code
from gateway.core.upstream_errors.upstream_error import UpstreamError

_LONGEST = 2_000
"""Characters of a message that are searched."""

_NUMBERS = frozenset({1211})
"""Zhipu's number for a model that does not exist."""

_NAME = r"(?:\s*[:=]?\s*[`'\"“「\[<(]?[\w./:@+~-]{1,256}[`'\"”」\]>)]?,?)?"
"""A model's name behind the word, perhaps in quotes."""

_QUOTED = r"[`'\"“][\w./:@+~-]{1,256}[`'\"”]"
_SUBJECT = rf"(?:\A|[.,:!]\s+)(?:(?:the|this|your|requested|chosen|{_QUOTED}) ){{0,3}}models?"
"""The model as what a sentence is about: not something that is done with it, or a part of it."""

_RULES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        name: compiled_late(pattern, re.IGNORECASE)
        for name, pattern in (
            (
                "it does not exist",
                rf"\bmodels?(?: name| id| or endpoint)?\b{_NAME}\s+(?:(?:could|can)(?: not|not|n't) be found"
                r"|(?:do(?:es)?(?: not|n't)|not) exists?\b|(?:is|was) (?:not found|unknown|unavailable on this server)"
                r"|not found|is not (?:a valid model|recogni[sz]ed|known)|is not available\Z)",
            ),
            ("no valid name", r"\bis not a (?:valid|known) model\b"),
            (
                "an invalid model",
                r"\b(?:invalid|unknown|unrecogni[sz]ed|unsupported|nonexistent|no such) model"
                r"(?: (?:name|id))?(?:\s*[:=`'\"“\[]|\s+passed in\b|(?:\s+(?=\S*\d)[\w./:@+~-]{1,256})?[.!]?\Z)",
            ),
            (
                "it is not supported",
                rf"{_SUBJECT}{_NAME}\s+is not (?:currently )?supported\s*"
                r"(?:[.!,;]|\Z|(?:by|when using|for your|in your|on this)\b)",
            ),
            (
                "it has ended",
                rf"{_SUBJECT}{_NAME}\s+(?:(?:is|was|has been) (?:now )?(?:deprecated|retired|decommissioned"
                r"|discontinued|removed|withdrawn|sunset|shut ?down)"
                r"|is no longer (?:available|supported|served|offered)"
                r"|has reached (?:its |the )?end[ -]of[ -](?:life|support))\b",
            ),
            ("there is no such model", r"\bnot found (?:the )?model\b|\bno (?:endpoints|providers?) found for\b"),
            (
                "a relay has no channel for it",
                r"\bno (?:available )?channels?(?: (?:is|are))?(?: available)?\b.{0,40}?\bmodel\b|无可用(?:渠道|通道)"
                r"|没有可用的?(?:渠道|通道)",
            ),
            ("in Chinese", r"模型.{0,80}?(?:不存在|未找到|找不到)|(?:无效|未知|不支持)的?模型(?!参数)|找不到模型"),
        )
    }
)
"""Rule → the words by which it knows that the model is missing."""

_REFUSES_A_VALUE = compiled_late(
    r"\b(?:not|un)[ -]?(?:supported|allowed|permitted|recogni[sz]ed|known|available)\b|\b(?:must|should) be\b"
    r"|\bone of\b|\benum|\b(?:in|not a )valid\b",
    re.IGNORECASE,
)
"""What is said of a value that a field does not take. Of the field ``model``, whose value is a name, it means that."""

_A_PLACE = compiled_late(r"\b(?:messages|tools|functions|contents?|input)\s?(?:\[|\.\d)", re.IGNORECASE)
"""A place in the request that is not its model: what is said there is about the client's own data."""


def names_a_missing_model(error: UpstreamError) -> bool:
    """Whether an error says that the model does not exist where it was asked for."""
    if error.code in _NUMBERS:
        return True
    # A code such as ``unsupported_parameter`` says that the words are about something else.
    if isinstance(error.code, str) and slug_of_code(error.code) == "rejected":
        return False
    place = None if error.param is None else error.param.rpartition(".")[2]
    if place == "model" and _REFUSES_A_VALUE.search(error.message or ""):
        return True
    return place in (None, "model") and missing_rule(error.message) is not None


def missing_rule(message: str | None) -> str | None:
    """The name of the rule by which a message says that the model is missing; None if it does not."""
    if message is None:
        return None
    text = message[:_LONGEST].strip()
    if _A_PLACE.search(text):
        return None
    return next((name for name, pattern in _RULES.items() if pattern.search(text)), None)
