"""``piapi-gateway serve``: the gateway."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.cli.command import add_command, config_path, print_if_possible, servable_config
from gateway.cli.user_signals import survive_user_signals

if TYPE_CHECKING:
    from gateway.app.gateway import Gateway
    from gateway.config import Config
    from gateway.telemetry.log import Log
    from gateway.workers.supervisor import Supervisor
    from gateway.workers.worker import WorkerSide


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
    from gateway.workers.spawning import own_assignment

    assignment = own_assignment()
    given = given_settings(options) if assignment is None else assignment.given
    config = servable_config(options.config, options=given)
    if assignment is not None:
        from gateway.workers.worker import WorkerSide

        return _serve(config, options, given, WorkerSide(assignment))
    return _supervise(config, given) if config.workers > 1 else _serve(config, options, given)


def _serve(
    config: Config, options: argparse.Namespace, given: Mapping[str, str], worker: WorkerSide | None = None
) -> int:
    """Serve as one process. ``worker``: this one among several; None for the only one."""
    from gateway.app.gateway import Gateway
    from gateway.app.log_output import build_log
    from gateway.cli.process import run_server, serve_until_stopped
    from gateway.config import load

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
            if worker is not None:
                return await _serve_as_worker(worker, config, log, read_again)
            for warning in config.warnings:
                log.warning("config", message=warning)
            return await serve_until_stopped(lambda: Gateway.start(config, log, read_again), _announce, log)
        finally:
            log.close()

    return run_server(serving())


async def _serve_as_worker(worker: WorkerSide, config: Config, log: Log, read_again: Callable[[], Config]) -> int:
    from gateway.app.gateway import Gateway
    from gateway.cli.process import serve_until_stopped

    channel = await worker.connect()

    async def start() -> Gateway:
        gateway = await Gateway.start(config, log, read_again, worker=worker.place)
        gateway.services.tasks.spawn(worker.serve(channel), "supervisor")
        return gateway

    return await serve_until_stopped(start, lambda gateway: worker.ready(gateway, channel), log)


def _supervise(config: Config, given: Mapping[str, str]) -> int:
    """Serve as the supervisor of several processes."""
    from gateway.app.log_output import build_log
    from gateway.cli.process import has_terminal, run_server
    from gateway.workers.supervisor import Supervisor

    gc.enable()
    arguments = [] if config.source is None else ["--config", str(config.source)]

    async def supervising() -> int:
        log = build_log(config)
        log.bridge_stdlib()
        try:
            for warning in config.warnings:
                log.warning("config", message=warning)
            supervisor = Supervisor(config, log, arguments, given, foreground=has_terminal())
            return await supervisor.run(lambda: _announce_workers(supervisor, config))
        finally:
            log.close()

    return run_server(supervising())


def _announce_workers(supervisor: Supervisor, config: Config) -> None:
    def say() -> None:
        print(
            f"piapi-gateway {__version__} listens on {supervisor.main_url} (admin: {supervisor.admin_url}) "
            f"with {config.workers} workers",
            flush=True,
        )
        _say_where_the_log_is(config)

    print_if_possible(say)


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
    _say_where_the_log_is(gateway.config)


def _say_where_the_log_is(config: Config) -> None:
    if (file := config.log.file) is not None:
        print(f"The log goes to {os.path.abspath(file)}", flush=True)
