"""Compactions: what was said before, summed up in one item that later requests may send.

Its content is opaque to clients, as OpenAI's is, and is the summary: nothing is kept here for it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

_MARK = "piapi1."

SUMMARY_OF_BEFORE = "This is a summary of the conversation so far:\n\n"

COMPACT = (
    "Sum up the conversation above so that another model can go on with it without having seen it. Keep every fact, "
    "decision, name, number, path, open question and next step that may matter; leave out what does not. Write only "
    "the summary."
)
"""What a model is asked for a compaction."""


def sealed(summary: str) -> str:
    """The content of a compaction's item."""
    return _MARK + base64.b64encode(summary.encode("utf-8", "replace")).decode()


def summary_in(content: object) -> str | None:
    """The summary in the content of an item; None if it was not made here."""
    if not isinstance(content, str) or not content.startswith(_MARK):
        return None
    try:
        return base64.b64decode(content[len(_MARK) :], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def compacted(items: Sequence[Mapping[str, Any]], summary: str, id: str) -> list[dict[str, Any]]:
    """The output of a compaction, which later requests may send as their input: what the user said, word by word, and
    the summary of all.

    ``id``: the response's.
    """
    said = [{**item} for item in items if item.get("type") == "message" and item.get("role") == "user"]
    sealed_item = {"id": f"cmp_{id.removeprefix('resp_')}", "type": "compaction", "encrypted_content": sealed(summary)}
    return [*said, sealed_item]
