"""The sounds that a chat's answer names by an id, under which a later message of the same client may refer to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.wire.chat_choices import choices_in

Heard = Callable[[str, float | None], None]
"""Is told of each sound's id, and until when it is kept, in Unix seconds; None if the answer does not say."""

_LONGEST_ID = 512
_LATEST = 1e12  # seconds: later times are no times


def tell_of_sounds(chunk: dict[str, Any], heard: Heard) -> None:
    """Tell of the sounds in a chunk, or in a whole answer. Accepts any object and never raises."""
    for choice in choices_in(chunk):
        for name in ("delta", "message"):
            said = choice.get(name) if isinstance(choice, dict) else None
            sound = said.get("audio") if isinstance(said, dict) else None
            if isinstance(sound, dict):
                id, until = sound.get("id"), sound.get("expires_at")
                if isinstance(id, str) and 0 < len(id) <= _LONGEST_ID:
                    heard(id, float(until) if isinstance(until, int | float) and abs(until) < _LATEST else None)
