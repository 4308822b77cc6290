"""``piapi-gateway serve``: the gateway."""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.cli.command import add_command, config_path, servable_config
from gateway.cli.user_signals import survive_user_signals

if TYPE_CHECKING:
    from gateway.app.gateway import Gateway
    from gateway.config import Config


def add_serve_parser(commands: Any) -> None:
    """Add ``serve`` to a parser's commands."""
    parser = add_command(commands, "serve", serve_command, "run the gateway")
    parser.add_argument("--listen", metavar="HOST:PORT", help="the main listener, whatever the configuration says")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="the store, whatever the configuration says: sqlite:///FILE (relative to this folder) or "
        "sqlite:////ABSOLUTE/FILE",
    )


def serve_command(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    survive_user_signals()
    gc.disable()  # a seventh of the time until it serves; then it is enabled again
    from gateway.runtime.core_dumps import forbid_core_dumps

    forbid_core_dumps()
    from gateway.app.gateway import Gateway
    from gateway.app.log_output import build_log
    from gateway.cli.process import run, serve_until_stopped
    from gateway.config import load

    given = given_settings(options)
    config = servable_config(options.config, options=given)
    source = config.source

    def read_again() -> Config:
        nonlocal source
        # A file that is gone for a moment must not turn into the built-in defaults, which ask for no key.
        read = load(source or config_path(options.config), os.environ, given, again=True)
        source = read.source
        return read

    async def serving() -> int:
        log = build_log(config)
        log.bridge_stdlib()
        try:
            for warning in config.warnings:
                log.warning("config", message=warning)
            return await serve_until_stopped(lambda: Gateway.start(config, log, read_again), _announce, log)
        finally:
            log.close()

    return run(serving())


def given_settings(options: argparse.Namespace) -> dict[str, str]:
    """The settings that the options of ``serve`` give: option → value."""
    given = {}
    if options.listen is not None:
        given["--listen"] = options.listen
    if options.store is not None:
        given["--store"] = _from_here(options.store)
    return given


def _from_here(store: str) -> str:
    """A store's URL; a relative file in it is relative to where the command is typed, as all arguments are."""
    prefix = "sqlite:///"
    name = store.removeprefix(prefix)
    if name == store or not name.strip() or name.startswith("/") or name.endswith("/"):
        return store
    return f"{prefix}{Path.cwd() / name}"


def _announce(gateway: Gateway) -> None:
    print(f"piapi-gateway {__version__} listens on {gateway.main_url} (admin: {gateway.admin_url})", flush=True)
    if gateway.made_store:
        print(f"made a new store: {gateway.made_store}", flush=True)
    if (file := gateway.config.log.file) is not None:
        print(f"The log goes to {os.path.abspath(file)}", flush=True)
