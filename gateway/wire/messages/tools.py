"""The tools of a Messages request as a chat's.

Tools of the client's own have a name and a schema, which a chat has as well. Every other kind is either carried out by
Anthropic (web search, code execution) or known by heart to its models only (bash, the text editor): such a request is
refused, naming the tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import invalid_request, shorten
from gateway.wire.field_checks import a_string, an_array, an_object, missing, wrong_value
from gateway.wire.messages.blocks import unknown_in

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_OF_A_CHOICE = ("type", "name", "disable_parallel_tool_use")
_OF_A_TOOL = ("type", "name", "description", "input_schema", "strict", "cache_control")


def chat_tools(tools: Any, ignored: set[str]) -> list[dict[str, Any]]:
    """The tools as a chat names them. ``ignored``: gets the names of what a chat has no place for.

    Raises ClientError 400 with ``param`` naming the tool for one that a chat cannot have.
    """
    an_array(tools, "tools")
    return [_chat_tool(tool, f"tools[{place}]", ignored) for place, tool in enumerate(tools)]


def chat_choice(choice: Any, ignored: set[str]) -> dict[str, Any]:
    """``tool_choice`` as the fields by which a chat chooses. ``ignored``: as above."""
    an_object(choice, "tool_choice")
    kind = choice.get("type")
    if kind is None:
        raise missing("tool_choice.type")
    if kind == "tool":
        fields: dict[str, Any] = {
            "tool_choice": {"type": "function", "function": {"name": _name(choice, "tool_choice")}}
        }
    elif isinstance(kind, str) and kind in _CHOICES:
        fields = {"tool_choice": _CHOICES[kind]}
    else:
        raise wrong_value("tool_choice.type", "it must be one of auto, any, tool, none")
    if choice.get("disable_parallel_tool_use") is True:
        fields["parallel_tool_calls"] = False
    ignored.update(unknown_in("tool_choice", choice, _OF_A_CHOICE))
    return fields


def _chat_tool(tool: Any, where: str, ignored: set[str]) -> dict[str, Any]:
    an_object(tool, where)
    kind = tool.get("type")
    if kind not in (None, "custom"):
        raise _not_a_chats(kind, where)
    function: dict[str, Any] = {"name": _name(tool, where)}
    if (schema := tool.get("input_schema")) is None:
        raise missing(f"{where}.input_schema")
    an_object(schema, f"{where}.input_schema")
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    function["parameters"] = schema
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    ignored.update(unknown_in("tools", tool, _OF_A_TOOL))
    if tool.get("cache_control") is not None:
        ignored.add("cache_control")
    return {"type": "function", "function": function}


def _name(fields: Mapping[str, Any], where: str) -> str:
    name = fields.get("name")
    if name is None:
        raise missing(f"{where}.name")
    a_string(name, f"{where}.name")
    return str(name)


def _not_a_chats(kind: Any, where: str) -> Exception:
    a_string(kind, f"{where}.type")
    return invalid_request(
        f"The tool '{shorten(kind)}' is Anthropic's own; here a model can be offered tools with an 'input_schema' of "
        "yours.",
        param=f"{where}.type",
        code="unsupported_tool",
    )
