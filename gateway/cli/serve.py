"""``piapi-gateway serve``: the gateway."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.cli.command import add_command, config_path, say_no_more, servable_config

if TYPE_CHECKING:
    from gateway.app.gateway import Gateway
    from gateway.config import Config


def add_serve_parser(commands: Any) -> None:
    """Add ``serve`` to a parser's commands."""
    add_command(commands, "serve", serve_command, "run the gateway")


def serve_command(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    from gateway.app.gateway import Gateway, build_log
    from gateway.cli.process import run, serve_until_stopped
    from gateway.config import load

    config = servable_config(options.config)
    source = config.source

    def read_again() -> Config:
        nonlocal source
        # A file that is gone for a moment must not turn into the built-in defaults, which ask for no key.
        read = load(source or config_path(options.config), os.environ, again=True)
        source = read.source
        return read

    async def serving() -> int:
        log = build_log(config)
        log.bridge_stdlib()
        try:
            for warning in config.warnings:
                log.warning("config", message=warning)
            return await serve_until_stopped(lambda: Gateway.start(config, log, read_again), _announce)
        finally:
            log.close()

    return run(serving())


def _announce(gateway: Gateway) -> None:
    try:
        print(f"piapi-gateway {__version__} listens on {gateway.main_url} (admin: {gateway.admin_url})", flush=True)
    except OSError:  # an output that takes nothing, as a full disk, is no reason not to serve
        say_no_more()
