"""What OpenAI asks of a chat's messages: their roles and contents, and that every tool call has its answer."""

from __future__ import annotations

from typing import Any

from gateway.sandbox.chat.rule_words import (
    Refusal,
    need_items,
    need_name,
    need_object,
    need_text,
    wrong_type,
    wrong_value,
)

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
_SPEAKER = r"^[^\s<|\\/>]+$"


def check_messages(messages: object) -> None:
    """Raises Refusal for the first message that is wrong, then for the first that does not follow the one before."""
    for place, message in enumerate(need_items(messages, "messages")):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise wrong_type(where, "an object", message)
        _check_message(message, place, where)
    _check_answers(messages)  # type: ignore[arg-type]  # it is a list of objects by now


def _check_message(message: dict[str, Any], place: int, where: str) -> None:
    role = need_text(message, "role", where)
    if role not in ROLES:
        raise wrong_value(f"{where}.role", role, ROLES)
    if message.get("name") is not None:
        need_name(message, where, _SPEAKER)
    calls, content = message.get("tool_calls"), message.get("content")
    if role == "assistant" and calls is not None:
        _check_calls(calls, f"{where}.tool_calls")
    if role == "tool" and message.get("tool_call_id") is None:
        words = "Missing parameter 'tool_call_id': messages with role 'tool' must have a 'tool_call_id'."
        raise Refusal(words, f"messages.[{place}].tool_call_id")
    if role == "function" and message.get("name") is None:
        words = "Missing parameter 'name': messages with role 'function' must have a 'name'."
        raise Refusal(words, f"messages.[{place}].name")
    if content is not None:
        _check_content(content, f"{where}.content")
    elif not _may_be_empty(message, role):
        raise Refusal("Invalid value for 'content': expected a string, got null.", f"messages.[{place}].content")


def _may_be_empty(message: dict[str, Any], role: str) -> bool:
    spoken = any(message.get(name) for name in ("tool_calls", "function_call", "audio", "refusal"))
    return role == "function" or (role == "assistant" and spoken)


def _check_content(content: object, where: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong_type(where, "one of a string or array of objects", content)
    for place, part in enumerate(content):
        within = f"{where}[{place}]"
        if not isinstance(part, dict):
            raise wrong_type(within, "an object", part)
        kind = need_text(part, "type", within)
        if kind not in _PARTS:
            raise wrong_value(f"{within}.type", kind, _PARTS)
        if kind in ("text", "refusal"):
            need_text(part, kind, within)
        else:
            held = need_object(part, kind, within)
            if kind == "image_url":
                need_text(held, "url", f"{within}.image_url")


def _check_calls(calls: object, where: str) -> None:
    for place, call in enumerate(need_items(calls, where)):
        within = f"{where}[{place}]"
        if not isinstance(call, dict):
            raise wrong_type(within, "an object", call)
        need_text(call, "id", within)
        kind = need_text(call, "type", within)
        if kind not in ("function", "custom"):
            raise wrong_value(f"{within}.type", kind, ("function", "custom"))
        called = need_object(call, kind, within)
        need_text(called, "name", f"{within}.{kind}")
        need_text(called, "arguments" if kind == "function" else "input", f"{within}.{kind}")


def _check_answers(messages: list[dict[str, Any]]) -> None:
    """Tool messages answer the calls right before them, and each call is answered."""
    asked: list[str] = []
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            id = message["tool_call_id"]
            if not asked:
                words = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise Refusal(f"Invalid parameter: {words}", f"messages.[{place}].role")
            if id not in asked:
                words = f"Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message."
                raise Refusal(words, f"messages.[{place}].tool_call_id")
            open_calls = [call for call in open_calls if call != id]
            continue
        if open_calls:
            raise _unanswered(open_calls, place)
        asked = [call["id"] for call in message.get("tool_calls") or ()] if message["role"] == "assistant" else []
        open_calls = list(asked)
    if open_calls:
        raise _unanswered(open_calls, len(messages))


def _unanswered(ids: list[str], place: int) -> Refusal:
    words = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(ids)}"
    )
    return Refusal(words, f"messages.[{place}].role")


def check_says_json(messages: list[dict[str, Any]]) -> None:
    """Raises Refusal unless the word JSON stands in a message: OpenAI asks for it with ``json_object``."""
    for message in messages:
        content = message.get("content")
        texts = [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
        if any(isinstance(text, str) and "json" in text.lower() for text in texts):
            return
    words = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    raise Refusal(words, "messages")
