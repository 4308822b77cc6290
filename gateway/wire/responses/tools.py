"""The tools of a Responses request as a chat's, and which of them the model may or must call.

Functions and custom tools are the client's own, which a chat has as well. Every other tool is carried out by OpenAI
itself, and a chat cannot ask for it: such a request is refused, naming the tool.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.wire.field_checks import a_string, an_array, an_object, missing, wrong_type
from gateway.wire.responses.answer import TOOL_OF_PICTURES
from gateway.wire.responses.pictures import PictureTool, picture_function, read_picture_tool

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

_OF_A_CHOICE = ("type", "name", "namespace")
_OF_A_FUNCTION = ("name", "description", "parameters", "strict")
_OF_RESPONSES = ("defer_loading", "allowed_callers", "async", "output_schema")
"""Fields of a tool that a chat does not have, and can do without."""

_LONGEST_NAME = 64

SEARCH = "tool_search"
"""The type of a search of tools, and what a chat calls it."""

_WITHOUT_GRAMMARS = re.compile(
    r"(?:gpt-3|gpt-4|chatgpt|o[134](?:-|$)|claude|gemini|deepseek|grok|llama|mistral|qwen|kimi|glm|minimax)"
)
"""Models, by the beginning of their names, that are known not to write custom tools' input by a grammar: GPT-5 was the
first that could (https://platform.openai.com/docs/guides/function-calling, "Context-free grammars")."""


class SpacedName(NamedTuple):
    """The name of a tool that is in a namespace."""

    namespace: str
    name: str


@dataclass(slots=True)
class ChatTools:
    """The tools of a request as a chat names them, one for each name.

    A chat has no namespaces: what is in one gets a name that begins with it. A search of tools that the client carries
    out is a function.

    ``model``: as the client named it.
    ``spaced``: of those in a namespace the chat's name → their own. ``searches``: the names of searches.
    ``names``: all. ``pictures``: the tool that makes pictures; None if it is not offered.
    ``ignored``: what a chat cannot be told of them.
    """

    model: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    spaced: dict[str, SpacedName] = field(default_factory=dict)
    searches: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    pictures: PictureTool | None = None
    ignored: list[str] = field(default_factory=list)

    def add(self, tools: Any, where: str) -> None:
        """Take an array of tools, which stands at ``where``.

        Raises ClientError 400 with ``param`` naming the tool for one that a chat, or the model, cannot have.
        """
        an_array(tools, where)
        for place, tool in enumerate(tools):
            within = f"{where}[{place}]"
            an_object(tool, within)
            if tool.get("type") == "namespace":
                self._add_namespace(tool, within)
            elif tool.get("type") == TOOL_OF_PICTURES:
                self.pictures = read_picture_tool(tool, within)
                self.names.add(TOOL_OF_PICTURES)
                self.tools.append(picture_function(self.pictures))
            elif tool.get("type") == SEARCH and tool.get("execution") == "client":
                self.searches.add(SEARCH)
                self._add({**tool, "type": "function", "name": SEARCH, "execution": None}, within)
            else:
                self._add(tool, within)

    def _add_namespace(self, space: Mapping[str, Any], where: str) -> None:
        namespace = _name(space, where)
        an_array(space.get("tools"), f"{where}.tools")
        for place, tool in enumerate(space["tools"]):
            within = f"{where}.tools[{place}]"
            an_object(tool, within)
            name = _name(tool, within)
            chats = spaced_name(namespace, name)
            self.spaced[chats] = SpacedName(namespace, name)
            self._add({**tool, "name": chats}, within)

    def _add(self, tool: Mapping[str, Any], where: str) -> None:
        found = _chat_tool(tool, where, self.model, self.ignored)
        name = str(found[found["type"]]["name"])
        if name not in self.names:
            self.names.add(name)
            self.tools.append(found)


def spaced_name(namespace: str, name: str) -> str:
    """What a chat calls a tool in a namespace: at most 64 characters, the same each time."""
    joined = f"{namespace.rstrip('_')}__{name}"
    if len(joined) <= _LONGEST_NAME:
        return joined
    mark = hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{joined[: _LONGEST_NAME - 9]}_{mark}"


def chat_choice(choice: Any, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """``tool_choice`` as a chat has it, and the tools that are left to choose from. ``tools``: as a chat names them.

    A word is a chat's as well: one that is newer than this gateway is the upstream's to judge.
    """
    if isinstance(choice, str):
        return choice, tools
    an_object(choice, "tool_choice")
    kind = choice.get("type")
    if kind == TOOL_OF_PICTURES:
        return {"type": "function", "function": {"name": TOOL_OF_PICTURES}}, tools
    if kind in _OWN:
        namespace, name = choice.get("namespace"), _name(choice, "tool_choice")
        chosen = spaced_name(namespace, name) if isinstance(namespace, str) and namespace else name
        newer = {each: value for each, value in choice.items() if each not in _OF_A_CHOICE and value is not None}
        return {"type": kind, kind: {"name": chosen}, **newer}, tools
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    raise _not_a_chats("tool_choice.type", kind)


def _allowed(choice: Mapping[str, Any], tools: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Of the tools those that are allowed. Not every model knows how to be allowed some of its tools; every one knows
    how to be given fewer.
    """
    mode = choice.get("mode", "auto")
    a_string(mode, "tool_choice.mode")
    an_array(choice.get("tools"), "tool_choice.tools")
    names = set()
    for place, tool in enumerate(choice["tools"]):
        where = f"tool_choice.tools[{place}]"
        an_object(tool, where)
        if tool.get("type") == TOOL_OF_PICTURES:
            names.add(("function", TOOL_OF_PICTURES))
            continue
        if tool.get("type") not in _OWN:
            raise _not_a_chats(f"{where}.type", tool.get("type"))
        namespace, name = tool.get("namespace"), _name(tool, where)
        names.add((tool["type"], spaced_name(namespace, name) if isinstance(namespace, str) else name))
    return mode, [tool for tool in tools if (tool["type"], tool[tool["type"]]["name"]) in names]


def _chat_tool(tool: Mapping[str, Any], where: str, model: str, ignored: list[str]) -> dict[str, Any]:
    kind = tool.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind not in _OWN:
        raise _not_a_chats(f"{where}.type", kind)
    name = _name(tool, where)
    ignored += [f"{where}.{each}" for each in _OF_RESPONSES if tool.get(each)]
    tool = {each: value for each, value in tool.items() if each not in _OF_RESPONSES}
    if kind == "function":
        function = {each: tool[each] for each in _OF_A_FUNCTION if tool.get(each) is not None}
        rest = {
            each: value for each, value in tool.items() if each not in (*_OF_A_FUNCTION, "type") and value is not None
        }
        return {"type": "function", "function": function, **rest}
    custom = {each: value for each, value in tool.items() if each not in ("type", "format") and value is not None}
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
    return {"type": "grammar", "grammar": {each: value for each, value in form.items() if each != "type"}}


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
