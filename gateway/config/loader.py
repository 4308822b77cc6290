"""The loader: a file and the environment → a Config. The only place that reads either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.config.assemble import assemble
from gateway.config.catalogue import builtin_layer
from gateway.config.document import read_document
from gateway.config.exposure import exposed_secrets
from gateway.config.files import read_text
from gateway.config.layer import check_document
from gateway.config.own_catalogue import own_catalogue
from gateway.config.problems import Problems
from gateway.config.settings import AdminConfig, Config
from gateway.config.tree import Table, read_tree
from gateway.core.errors import ConfigError
from gateway.core.signing import PEPPER_VARIABLE

_FAR_REACHING = frozenset({"catalogue", "workers"})
"""Settings whose mistakes are told of other ones: of models in another file, of engines that several processes need."""


def load_admin(path: Path | None, environ: Mapping[str, str]) -> AdminConfig:
    """Where the admin listener is and what it asks for, also by a file that has mistakes elsewhere.

    Raises ConfigError with every problem of the file if it does not say.
    """
    problems = Problems()
    file = "built-in defaults" if path is None else str(path)
    text = "" if path is None else read_text(path, problems)
    root = None if text is None else read_tree(text, file, problems)
    document = read_document(root, file, environ, problems, frozenset({"admin"}))
    user = check_document(document, problems)
    given = user.sections.admin
    if document.is_broken(("admin",)) or document.is_broken(("admin", "key")) or (root is None and problems):
        raise ConfigError(problems.lines())
    key = builtin_layer(environ, document.data, problems).sections.admin.key if given.key is None else given.key
    return AdminConfig(given.listen, key or "", given.open_metrics)


def load(
    path: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, str] | None = None,
    *,
    uses: frozenset[str] | None = None,
    again: bool = False,
) -> Config:
    """The configuration in the file ``path``, filled from ``environ``.

    ``path``: None for the built-in defaults only.
    ``options``: settings of the command line (``--listen`` → value), which replace the file's of that name.
    ``uses``: the settings at the top of the file that will be used, None for all. Mistakes of the file are told in any
        case; what the environment or other files lack is, where it is used.
    ``again``: whether the files were read before, for a reload: then they must be files, and must hold still.

    Raises ConfigError with every problem, sorted by position, as ``file:line:column: path: message``.
    """
    problems = Problems()
    config = _read(path, environ, options or {}, problems, uses=uses, again=again)
    if config is None or problems:
        raise ConfigError(problems.lines())
    return config


def load_rest(path: Path | None, environ: Mapping[str, str]) -> tuple[Config, frozenset[str]] | None:
    """What a file with mistakes says in those of its settings that have none, and the names of those that have. The
    latter have their defaults then, which nothing may be concluded from. None if the file as a whole makes no sense.
    """
    without: frozenset[str] = frozenset()
    while True:
        problems = Problems()
        config = _read(path, environ, {}, problems, without=without)
        if config is not None and not problems:
            return config, without
        found = problems.settings - {""} - without or _FAR_REACHING - without
        if not found:
            return None
        without |= found


def _read(
    path: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, str],
    problems: Problems,
    *,
    uses: frozenset[str] | None = None,
    again: bool = False,
    without: frozenset[str] = frozenset(),
) -> Config | None:
    """See ``load``. ``without``: settings that are passed over. None, or a Config that is not to be used, if there are
    ``problems``.
    """
    file = "built-in defaults" if path is None else str(path)
    text = "" if path is None else read_text(path, problems, again=again) or ""
    root = read_tree(text, file, problems)
    if isinstance(root, Table) and without:
        root = Table(root.position, [entry for entry in root.entries if entry.key not in without])
        problems.forget(without)  # a key that stands twice is told as the file is read
    document = read_document(root, file, environ, problems, uses)
    if root is None and problems:
        return None  # there is nothing to check yet
    for option, value in options.items():
        document.replace((option.removeprefix("--"),), value, option)
    user = check_document(document, problems)
    own = own_catalogue(user, path, environ, problems, again=again)
    builtin = builtin_layer(environ, document.data, problems, uses)
    config = assemble(user, own.layer, builtin, path, environ)
    if problems:
        return None
    if own.path is not None:
        warnings = (*config.warnings, *own.warnings)
        config = replace(
            config,
            catalogue=own.path,
            catalogue_as_of=own.as_of,
            warnings=warnings,
            blank_catalogue=not own.layer.sections.models,
        )
    if path is not None:
        config = replace(config, warnings=(*config.warnings, *exposed_secrets(path, document, config.secrets)))
    config = replace(config, blank=not document.data, variables=tuple(document.variables), written=text)
    pepper = environ.get(PEPPER_VARIABLE, "").strip()
    return replace(config, key_pepper=pepper, secrets=config.secrets | {pepper}) if pepper else config
