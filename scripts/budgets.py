"""The house's budgets: lengths of files and functions, parameters, broad excepts, what a pure room may import.

Run by ``make check``. Prints every breach as ``file:line: what`` and exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 8
# The front door; and the transport's callback, which hands what is raised in it to the task that waits.
BROAD_EXCEPT_AT = {"gateway/server/dispatch.py", "gateway/upstream/connection.py"}
PURE_ROOMS = ("gateway/core/", "gateway/wire/", "gateway/translate/")
IMPURE_MODULES = {
    "asyncio", "datetime", "http", "httpx2", "io", "logging", "os", "pathlib", "random", "secrets", "select", "shutil",
    "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip
# Pure parts of impure modules: parsing a date, or knowing a calendar, is not asking the clock.
PURE_EXCEPTIONS = {
    ("gateway/core/listed_model.py", "datetime"),
    ("gateway/core/outcomes/retry_after.py", "datetime"),
    ("gateway/core/pricing/calendar.py", "datetime"),
    ("gateway/core/pricing/budgets.py", "datetime"),
    ("gateway/core/pricing/shared_budgets.py", "datetime"),
    ("gateway/core/pricing/budget_errors.py", "datetime"),
    ("gateway/wire/messages/model_list.py", "datetime"),
}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments a function takes; ``self`` and ``cls`` are not counted, ``*args`` and ``**kwargs`` are."""
    found = function.args
    names = [each.arg for each in (*found.posonlyargs, *found.args)]
    bound = names[:1] in (["self"], ["cls"])
    return len(names) - bound + len(found.kwonlyargs) + (found.vararg is not None) + (found.kwarg is not None)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every module a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module


def broad_handlers(tree: ast.AST) -> Iterator[int]:
    """Lines of handlers that catch everything and keep it; cleaning up and raising again is no such thing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and catches_all(node):
            last = node.body[-1]
            if not (isinstance(last, ast.Raise) and last.exc is None):
                yield node.lineno


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Whether a handler names nothing, Exception or BaseException."""
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        name is None or (isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"}) for name in names
    )


def breaches(path: Path, name: str) -> Iterator[str]:
    """Everything wrong with one file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{name}:1: {lines} lines, at most {FILE_LINES}: split it by subject"
    for function in functions(tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length >= FUNCTION_LINES:
            yield f"{name}:{function.lineno}: {function.name} has {length} lines, not fewer than {FUNCTION_LINES}"
        count = parameters(function)
        if count > PARAMETERS:
            yield (
                f"{name}:{function.lineno}: {function.name} takes {count} arguments, at most {PARAMETERS}: "
                "group what travels together"
            )
    if name not in BROAD_EXCEPT_AT:
        for line in broad_handlers(tree):
            yield f"{name}:{line}: a broad except belongs at the front door, or in the transport's callback"
    if name.startswith(PURE_ROOMS):
        for line, module in imported(tree):
            root = module if module in IMPURE_MODULES else module.partition(".")[0]
            if root in IMPURE_MODULES and (name, root) not in PURE_EXCEPTIONS:
                yield f"{name}:{line}: a pure room imports {module}"


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    files = sorted((root / "gateway").rglob("*.py"))
    found = [line for path in files for line in breaches(path, path.relative_to(root).as_posix())]
    for line in found:
        print(line)
    median = statistics.median(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    print(f"budgets: {len(files)} files, median {median:g} lines, {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
