"""Every error a client can be sent, found where the code makes it.

An error is made by calling one of ``MAKERS`` with its status, type and code. Where the code is a parameter of the
function around the call, the function's own callers are looked at, wherever they are in the gateway.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GATEWAY = Path(__file__).parents[2] / "gateway"
NOT_SERVED = ("cli", "sandbox")
"""Rooms whose errors no client of the gateway sees."""

MAKERS = frozenset({"GatewayError", "ClientError", "LimitError", "GatewayFault", "UpstreamFault", "ClientAnswer"})
PASSED_ON = frozenset({"core/outcomes/table.py:client_error", "server/dispatch.py:__call__"})
"""Functions that hand on what a ClientAnswer holds, an upstream's own code, or a status that Starlette raised."""

SAME_CODE = frozenset({"wire/form_fields.py:_json"})
"""Functions that give an error of JSON another message and keep its code."""


@dataclass(frozen=True, slots=True, order=True)
class Made:
    """An error as the code makes it. ``code``: empty where it has none."""

    status: int
    type: str
    code: str


class Unclear(Exception):
    """A place whose status, type or code this module cannot tell; the message says where."""


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of the gateway and the calls inside it."""

    place: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def parameters(self) -> list[str]:
        arguments = self.node.args
        return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]

    def default(self, name: str) -> ast.expr | None:
        """The default of a keyword-only parameter."""
        arguments = self.node.args
        pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return next((value for each, value in pairs if each.arg == name), None)


@cache
def errors_made() -> frozenset[Made]:
    """All of them."""
    functions, calls = _read()
    return frozenset(_all(functions, calls))


@cache
def _read() -> tuple[Mapping[str, _Function], list[tuple[ast.Call, _Function | None, str]]]:
    """Functions by their file and name, and every call with the function and the file around it."""
    functions: dict[str, _Function] = {}
    calls: list[tuple[ast.Call, _Function | None, str]] = []
    for path in sorted(GATEWAY.rglob("*.py")):
        name = path.relative_to(GATEWAY).as_posix()
        if not name.startswith(NOT_SERVED):
            _visit(ast.parse(path.read_text(encoding="utf-8")), None, name, functions, calls)
    return functions, calls


def _visit(
    node: ast.AST,
    around: _Function | None,
    file: str,
    functions: dict[str, _Function],
    calls: list[tuple[ast.Call, _Function | None, str]],
) -> None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        around = _Function(f"{file}:{node.name}", node)
        functions[around.place] = around
    if isinstance(node, ast.Call):
        calls.append((node, around, file))
    for child in ast.iter_child_nodes(node):
        _visit(child, around, file, functions, calls)


def _all(functions: Mapping[str, _Function], calls: list[tuple[ast.Call, _Function | None, str]]) -> Iterator[Made]:
    makers: dict[str, _Function] = {}
    for call, around, _ in calls:
        if called(call) in MAKERS and not (around and around.place in PASSED_ON):
            given = (*call.args, *[None] * 3)[:3]
            if around is not None and _is_parameter(given[2], around):
                makers[around.node.name] = around
            else:
                yield made(given, around, call)
    for call, around, _ in calls:
        maker = makers.get(called(call))
        if maker is not None and not (around and around.place in SAME_CODE):
            yield _through(maker, call, around)


def _through(maker: _Function, call: ast.Call, around: _Function | None) -> Made:
    """The error made by calling ``maker``, whose parameter is the code."""
    inner = next(each for each in ast.walk(maker.node) if isinstance(each, ast.Call) and called(each) in MAKERS)
    status, type_, name = inner.args[:3]
    assert isinstance(name, ast.Name)
    given: ast.expr | None = maker.default(name.id)
    position = maker.parameters.index(name.id)
    if position < len(call.args):
        given = call.args[position]
    given = next((each.value for each in call.keywords if each.arg == name.id), given)
    return made((status, type_, given), around, call)


def made(given: tuple[ast.expr | None, ...], around: _Function | None, call: ast.Call) -> Made:
    status, type_, code = (_value(each) for each in given)
    if not isinstance(status, int) or not isinstance(type_, str) or not (code is None or isinstance(code, str)):
        where = around.place if around else "a module"
        raise Unclear(f"{where}: cannot tell what {ast.unparse(call)} answers; write its status, type and code out")
    return Made(status, type_, code or "")


@cache
def _constants() -> Mapping[str, object]:
    """Module-level names that hold a text, such as the error types in core/outcomes/table.py."""
    found: dict[str, object] = {}
    tree = ast.parse((GATEWAY / "core/outcomes/table.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            found[node.targets[0].id] = node.value.value
    return found


def _value(node: ast.expr | None) -> object:
    if node is None:
        return None
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in _constants():
        return _constants()[node.id]
    return node


def _is_parameter(node: ast.expr | None, around: _Function) -> bool:
    return isinstance(node, ast.Name) and node.id in around.parameters


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""
