"""The reasons for which a choice of a chat ends, as upstreams write them."""

from __future__ import annotations

from typing import Any

from gateway.wire.chat_choices import NO_REASONS


def finish_reason(value: object) -> str | None:
    """The reason that a chunk gives for the end of a choice; None if it gives none: some write it as ``"null"``."""
    return value if isinstance(value, str) and value.lower() not in NO_REASONS else None


def usual_finish_reason(message: dict[str, Any]) -> str:
    """The reason for which a whole message ends when no reason came."""
    return "tool_calls" if message.get("tool_calls") else "function_call" if message.get("function_call") else "stop"
