"""Why gpt-4o-image made no image, in its own text.

The relays of this model report failures inside an answer of status 200 that ends like a success. A failure has one of a
few known marks; any other text that is not progress are the model's own words, of which wire/refusal_words.py
says whether they refuse the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.wire.image_parts import FENCE, AnswerParts

MOST_WORDS = 1000
"""Characters of a reason that are passed on."""

_MOST_SEARCHED = 1 << 16
"""Characters that are searched for a reason. Real answers have a few hundred."""

_MARKS = re.compile(
    r"generation failed|生成失败|failure reason|失败原因|(?<!\w)(?:input|output)_moderation(?!\w)", re.IGNORECASE
)
_CODE = re.compile(r"(?:failure reason|失败原因)[ \t*`]*+[:：][ \t*`]*+([^\n*`]++)", re.IGNORECASE)
_MODERATION = re.compile(r"(?<!\w)(?:input|output)_moderation(?!\w)", re.IGNORECASE)
_REASON = re.compile(r"^[> \t*]*+(?:reason|原因)[ \t*]*+[:：][ \t*]*+([^\n]++)", re.IGNORECASE | re.MULTILINE)
_SUGGESTION = re.compile(r"^[> \t*]*+(?:suggestion|建议)[ \t*]*+[:：][ \t*]*+([^\n]++)", re.IGNORECASE | re.MULTILINE)

_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "input_moderation": "the request did not pass moderation",
        "output_moderation": "the image that was made did not pass moderation",
    }
)
_NO_CODES = frozenset({"", "other"})

_STOPS = (".", "!", "?", "。", "！", "？")

_LINK = re.compile(r"!?\[[^\[\]]*+\]\([^()\s]*+\)?|https?://[^\s()\[\]]++", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_ID = re.compile(r"\W*+(?:gen_id|sid|id|task_id)[ \t]*+[:：]", re.IGNORECASE)
_PROGRESS = re.compile(
    r"""[\W\d_]*+
        (?:queue?ing|generating|generation\ complete|progress|排队中|生成中|生成完成|(?:生成)?进度)
        [\W\d_]*+""",
    re.VERBOSE | re.IGNORECASE,
)


def failure_of(parts: AnswerParts) -> str | None:
    """What an answer without an image says about why the generation failed; None if it does not report a failure."""
    words = parts.words[:_MOST_SEARCHED]
    if parts.terminal is None and _MARKS.search(words) is None:
        return None
    parts_of_reason = []
    if code := _code(words, parts.terminal):
        meaning = _MEANINGS.get(code.lower())
        parts_of_reason.append(f"{code} ({meaning})" if meaning else code)
    if reason := _REASON.search(words):
        parts_of_reason.append(f"Reason: {reason[1]}")
    if suggestion := _SUGGESTION.search(words):
        parts_of_reason.append(f"Suggestion: {suggestion[1]}")
    if parts_of_reason:
        return " ".join(map(_sentence, parts_of_reason))[:MOST_WORDS]
    return refusal_of(parts) or "The generation failed, and no reason was given."


def refusal_of(parts: AnswerParts) -> str | None:
    """What an answer without an image says in plain text; None if it only reports progress."""
    kept = (line for line in parts.words[:_MOST_SEARCHED].split("\n") if not line.strip() or _is_speech(line))
    return "\n".join(kept).strip()[:MOST_WORDS].rstrip() or None


def _code(words: str, terminal: Mapping[str, Any] | None) -> str | None:
    """The failure's short name: from the line that gives the reason, else any known one, else the terminal JSON's."""
    if (found := _CODE.search(words)) and (code := found[1].strip()):
        return code
    if found := _MODERATION.search(words):
        return found[0]
    if terminal is None:
        return None
    code = terminal.get("code")
    if isinstance(code, str) and code.strip().lower() not in _NO_CODES:
        return code.strip()
    return "output_moderation" if terminal.get("is_output_rejection") is True else None


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith(_STOPS) else text + "."


def _is_speech(line: str) -> bool:
    """Whether a line is more than progress, an id, or links."""
    line = line.strip()
    if line.startswith((">", FENCE)) or _ID.match(line):
        return False
    rest = _LINK.sub("", line)
    return _LETTER.search(rest) is not None and _PROGRESS.fullmatch(rest) is None
