"""Whether two names mean the same model, however a provider or a relay spells it: for the price of an answer.

An answer is believed more than a request is (core/routing/model_names.py): a wrong guess costs cents, not a permission.
"""

from __future__ import annotations

import re
from functools import lru_cache

_VENDOR = re.compile(r"(?:[a-z]+\.)+(?=[a-z])")
"""Bedrock's beginnings: ``us.anthropic.``. What stands before the last slash is a vendor's as well."""

_ALIAS = re.compile(r"(?:-v\d+:\d+|[-:]latest)\Z")
"""Endings that name no other model: Bedrock's version, and the word for the latest snapshot."""

_DATE = re.compile(
    r"[-@](?:"
    r"20\d\d-\d\d-\d\d|20\d{6}|\d\d-20\d\d|"  # 2024-08-06, 20250514, 08-2024
    r"[012]\d(?:[0-2]\d|3[01])|2\d[01]\d[0-3]\d|"  # 0613 or 2411, 250615
    r"00\d)\Z"
)
_SEPARATORS = re.compile(r"[^a-z0-9:]+")
LONGEST = 256
"""Characters of a name that are looked at."""


@lru_cache(maxsize=2048)
def folded_name(model: str) -> str:
    """The name without a vendor's prefix, letter case and separators: ``openai/GPT-4.1`` → ``gpt41``."""
    return _SEPARATORS.sub("", _plain(model))


@lru_cache(maxsize=2048)
def undated_name(model: str) -> str:
    """The folded name without the date or number of a snapshot: ``gpt-4o-2024-08-06`` → ``gpt4o``."""
    return _SEPARATORS.sub("", _DATE.sub("", _plain(model)))


def same_model(asked: str, named: str) -> bool:
    """Whether an answer that names ``named`` is by the model that was asked for as ``asked``.

    A snapshot of a model is that model; two snapshots of one are two models, as their prices may differ.
    """
    if folded_name(asked) == folded_name(named):
        return True
    undated = undated_name(asked)
    return undated == undated_name(named) and undated in (folded_name(asked), folded_name(named))


def _plain(model: str) -> str:
    name = model[:LONGEST].strip().lower().rpartition("/")[2]
    if (prefix := _VENDOR.match(name)) is not None:
        name = name[prefix.end() :]
    return _ALIAS.sub("", name)
