"""The loader: a file and the environment → a Config. The only place that reads either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.config.assemble import assemble
from gateway.config.catalogue import builtin_layer
from gateway.config.document import read_document
from gateway.config.layer import check_document
from gateway.config.problems import Position, Problems
from gateway.config.settings import Config
from gateway.config.tree import read_tree
from gateway.core.errors import ConfigError
from gateway.core.signing import PEPPER_VARIABLE

MAX_FILE_BYTES = 4 * 1024**2


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration in the file ``path``, filled from ``environ``.

    ``path``: None for the built-in defaults only.

    Raises ConfigError with every problem, sorted by position, as ``file:line:column: path: message``.
    """
    problems = Problems()
    file = "built-in defaults" if path is None else str(path)
    text = "" if path is None else _read(path, problems)
    root = read_tree(text, file, problems)
    document = read_document(root, file, environ, problems)
    if root is None and problems:
        raise ConfigError(problems.lines())  # there is nothing to check yet
    user = check_document(document, problems)
    builtin = builtin_layer(environ, document.data, problems)
    config = assemble(user, builtin, path, environ)
    if problems:
        raise ConfigError(problems.lines())
    pepper = environ.get(PEPPER_VARIABLE, "").strip()
    return replace(config, key_pepper=pepper, secrets=config.secrets | {pepper}) if pepper else config


def _read(path: Path, problems: Problems) -> str:
    file = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        problems.add(Position(file), (), f"cannot be read: {reason}")
        return ""
    if len(data) > MAX_FILE_BYTES:
        problems.add(Position(file), (), f"is larger than {MAX_FILE_BYTES} bytes")
        return ""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problems.add(Position(file, line, column), (), "not UTF-8 text; save the file as UTF-8")
        return ""
