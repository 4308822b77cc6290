"""Whole completions that an upstream sent whole: nothing of them is lost on the way to the client."""

from __future__ import annotations

from typing import Any

from gateway.wire.chat_chunk import choice_indexes, message_of


def with_every_field(folded: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """``folded`` with the fields of ``sent`` that chunks do not carry, such as those that are null.

    ``folded``: the completion as it was joined from the chunks of ``sent``; it is changed.
    ``sent``: a completion that has passed ``completion_as_chunks``.
    """
    _fill(folded, sent)
    by_index = {choice["index"]: choice for choice in folded["choices"]}
    for index, choice in zip(choice_indexes(sent["choices"]), sent["choices"], strict=True):
        whole = by_index.get(index)
        if whole is not None:
            _fill(whole, choice)
            _fill(whole["message"], message_of(choice))
    return folded


def _fill(into: dict[str, Any], source: dict[str, Any]) -> None:
    for name, value in source.items():
        into.setdefault(name, value)
