"""The tools of a Responses request as a chat's, and which of them the model may or must call.

Functions and custom tools are the client's own, which a chat has as well. Every other tool is carried out by OpenAI
itself, and a chat cannot ask for it: such a request is refused, naming the tool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.wire.field_checks import a_string, an_array, an_object, missing, wrong_type, wrong_value

_OWN = ("function", "custom")
_OPENAIS = frozenset(
    {
        *("web_search", "web_search_preview", "file_search", "code_interpreter", "computer_use", "mcp", "shell"),
        *(
            "computer_use",
            "computer_use_preview",
            "computer",
            "image_generation",
            "local_shell",
            "apply_patch",
            "tool_search",
        ),
    }
)
"""Tools that OpenAI carries out, or describes, itself."""

_CHOICES = ("auto", "none", "required")
_OF_A_FUNCTION = ("name", "description", "parameters", "strict")
_MODES = ("auto", "required")

_WITHOUT_GRAMMARS = re.compile(
    r"(?:gpt-3|gpt-4|chatgpt|o[134](?:-|$)|claude|gemini|deepseek|grok|llama|mistral|qwen|kimi|glm|minimax)"
)
"""Models, by the beginning of their names, that are known not to write custom tools' input by a grammar: GPT-5 was the
first that could (https://platform.openai.com/docs/guides/function-calling, "Context-free grammars")."""


def chat_tools(tools: Any, model: str) -> list[dict[str, Any]]:
    """The tools as a chat names them.

    Raises ClientError 400 with ``param`` naming the tool for one that a chat, or the model, cannot have.
    """
    an_array(tools, "tools")
    return [_chat_tool(tool, f"tools[{place}]", model) for place, tool in enumerate(tools)]


def chat_choice(choice: Any, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """``tool_choice`` as a chat has it, and the tools that are left to choose from. ``tools``: as a chat names them."""
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise wrong_value("tool_choice", f"it must be one of {', '.join(_CHOICES)}, or an object")
        return choice, tools
    an_object(choice, "tool_choice")
    kind = choice.get("type")
    if kind in _OWN:
        return {"type": kind, kind: {"name": _name(choice, "tool_choice")}}, tools
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    raise _not_a_chats("tool_choice.type", kind)


def _allowed(choice: Mapping[str, Any], tools: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Of the tools those that are allowed. Not every model knows how to be allowed some of its tools; every one knows
    how to be given fewer.
    """
    mode = choice.get("mode", "auto")
    if mode not in _MODES:
        raise wrong_value("tool_choice.mode", f"it must be one of {', '.join(_MODES)}")
    an_array(choice.get("tools"), "tool_choice.tools")
    names = set()
    for place, tool in enumerate(choice["tools"]):
        where = f"tool_choice.tools[{place}]"
        an_object(tool, where)
        if tool.get("type") not in _OWN:
            raise _not_a_chats(f"{where}.type", tool.get("type"))
        names.add((tool["type"], _name(tool, where)))
    return mode, [tool for tool in tools if (tool["type"], tool[tool["type"]]["name"]) in names]


def _chat_tool(tool: Any, where: str, model: str) -> dict[str, Any]:
    an_object(tool, where)
    kind = tool.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind not in _OWN:
        raise _not_a_chats(f"{where}.type", kind)
    name = _name(tool, where)
    if kind == "function":
        function = {field: tool[field] for field in _OF_A_FUNCTION if tool.get(field) is not None}
        rest = {field: value for field, value in tool.items() if field not in (*_OF_A_FUNCTION, "type")}
        return {"type": "function", "function": function, **rest}
    custom = {field: value for field, value in tool.items() if field not in ("type", "format") and value is not None}
    form = tool.get("format")
    if form is not None:
        custom["format"] = _chat_format(form, f"{where}.format", name, model)
    return {"type": "custom", "custom": custom}


def _chat_format(form: Any, where: str, name: str, model: str) -> dict[str, Any]:
    an_object(form, where)
    if form.get("type") != "grammar":
        return {**form}
    if _WITHOUT_GRAMMARS.match(model.rpartition("/")[2].lower()) is not None:
        raise invalid_request(
            f"The custom tool '{shorten(name)}' has a grammar, by which the model '{shorten(model)}' cannot write. "
            "Leave out its format, or take a model that can.",
            param=where,
            code="unsupported_value",
        )
    return {"type": "grammar", "grammar": {field: value for field, value in form.items() if field != "type"}}


def _name(fields: Mapping[str, Any], where: str) -> str:
    name = fields.get("name")
    if name is None:
        raise missing(f"{where}.name")
    a_string(name, f"{where}.name")
    return str(name)


def _not_a_chats(param: str, kind: Any) -> ClientError:
    if not isinstance(kind, str):
        return wrong_type(param, "a string", kind) if kind is not None else missing(param)
    why = "is one of OpenAI's own" if kind.partition("_20")[0] in _OPENAIS else "is none that a chat can have"
    return invalid_request(
        f"The tool '{shorten(kind)}' {why}; here a model can be offered functions and custom tools. A target with "
        "'operation: responses' passes it on.",
        param=param,
        code="unsupported_tool",
    )


def offered_names(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The names of a chat's tools."""
    return frozenset(str(tool[tool["type"]]["name"]) for tool in tools)
