"""What OpenAI asks of ``response_format``, ``tools`` and ``tool_choice``, and of the schemas in them."""

from __future__ import annotations

from collections.abc import Mapping
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
from gateway.sandbox.wire.answers import Json

FORMATS = ("json_object", "json_schema", "text")
_CHOICES = ("none", "auto", "required")
_MOST_TOOLS = 128
_DEEPEST = 40  # steps into a schema, two or so a level


def check_format(format: object) -> None:
    """Raises Refusal for a ``response_format`` that OpenAI would not take."""
    if format is None:
        return
    if not isinstance(format, dict):
        raise wrong_type("response_format", "an object", format)
    kind = need_text(format, "type", "response_format")
    if kind not in FORMATS:
        raise wrong_value("response_format.type", kind, FORMATS)
    if kind != "json_schema":
        return
    described = need_object(format, "json_schema", "response_format")
    name = need_name(described, "response_format.json_schema")
    schema = described.get("schema")
    if schema is None and not described.get("strict"):
        return
    schema = need_object(described, "schema", "response_format.json_schema")
    about = f"Invalid schema for response_format '{name}'"
    if described.get("strict"):
        _check_root(schema, about, "response_format", None)
        _check_strict(schema, (), about, "response_format", None)


def check_tools(body: Json, *, any_types: bool = False) -> None:
    """Raises Refusal for ``tools``, ``functions`` or a choice among them that OpenAI would not take.

    ``any_types``: tools that are neither functions nor of free text pass.
    """
    tools, functions = body.get("tools"), body.get("functions")
    names = []
    for place, tool in enumerate(() if tools is None else need_items(tools, "tools", most=_MOST_TOOLS)):
        where = f"tools[{place}]"
        if not isinstance(tool, dict):
            raise wrong_type(where, "an object", tool)
        kind = need_text(tool, "type", where)
        if kind not in ("function", "custom"):
            if any_types:
                continue
            raise wrong_value(f"{where}.type", kind, ("function", "custom"))
        names.append(_check_function(need_object(tool, kind, where), f"{where}.{kind}"))
    for place, function in enumerate(() if functions is None else need_items(functions, "functions")):
        if not isinstance(function, dict):
            raise wrong_type(f"functions[{place}]", "an object", function)
        names.append(_check_function(function, f"functions[{place}]"))
    for field in ("tool_choice", "parallel_tool_calls"):
        if tools is None and body.get(field) is not None:
            words = f"Invalid value for '{field}': '{field}' is only allowed when 'tools' are specified."
            raise Refusal(words, field)
    _check_choice(body.get("tool_choice"), names)
    if functions is None and body.get("function_call") is not None:
        words = "Invalid value for 'function_call': 'function_call' is only allowed when 'functions' are specified."
        raise Refusal(words, "function_call")


def _check_function(function: dict[str, Any], where: str) -> str:
    name = need_name(function, where)
    parameters = function.get("parameters")
    if parameters is None:
        return name
    if not isinstance(parameters, dict):
        raise wrong_type(f"{where}.parameters", "an object", parameters)
    about, code = f"Invalid schema for function '{name}'", "invalid_function_parameters"
    if parameters:
        _check_root(parameters, about, f"{where}.parameters", code)
    if function.get("strict"):
        _check_strict(parameters, (), about, f"{where}.parameters", code)
    return name


def _check_choice(choice: object, names: list[str]) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise wrong_value("tool_choice", choice, _CHOICES)
        return
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "one of a string or an object", choice)
    kind = need_text(choice, "type", "tool_choice")
    if kind == "allowed_tools":
        need_object(choice, kind, "tool_choice")
        return
    if kind not in ("function", "custom"):
        raise wrong_value("tool_choice.type", kind, ("function", "custom", "allowed_tools"))
    name = need_text(need_object(choice, kind, "tool_choice"), "name", f"tool_choice.{kind}")
    if name not in names:
        words = f"Invalid value for 'tool_choice': tool choice '{kind}' '{name}' not found in 'tools' parameter."
        raise Refusal(words, "tool_choice")


def _check_root(schema: Mapping[str, Any], about: str, param: str, code: str | None) -> None:
    if schema.get("type") != "object" and "$ref" not in schema:
        got = schema.get("type")
        words = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."
        raise Refusal(f"{about}: {words}", param, code)


def _check_strict(schema: object, context: tuple[str, ...], about: str, param: str, code: str | None) -> None:
    """Strict mode: every object names all its properties as required and allows no others."""
    if not isinstance(schema, dict):
        return
    if len(context) > _DEEPEST:
        raise Refusal(f"{about}: the schema exceeds the maximum nesting depth.", param, code)
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        at = f"{about}: In context={context!r},"
        if schema.get("additionalProperties") is not False:
            raise Refusal(f"{at} 'additionalProperties' is required to be supplied and to be false.", param, code)
        names = list(properties) if isinstance(properties, dict) else []
        required = schema.get("required")
        lacking = [name for name in names if not isinstance(required, list) or name not in required]
        if lacking:
            words = "'required' is required to be supplied and to be an array including every key in properties."
            raise Refusal(f"{at} {words} Missing '{lacking[0]}'.", param, code)
    for word in ("properties", "$defs", "definitions"):
        parts = schema.get(word)
        for name, part in parts.items() if isinstance(parts, dict) else ():
            _check_strict(part, (*context, word, name), about, param, code)
    _check_strict(schema.get("items"), (*context, "items"), about, param, code)
    options = schema.get("anyOf")
    for place, part in enumerate(options if isinstance(options, list) else ()):
        _check_strict(part, (*context, "anyOf", str(place)), about, param, code)
