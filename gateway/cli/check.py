"""``piapi-gateway check``: the configuration validated; with ``--probe``, the upstreams asked as well."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.cli.command import DONE, FAILED, add_command, as_json, config_in_force
from gateway.cli.output import say, tell
from gateway.core.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import httpx2

    from gateway.config import Config


def add_check_parser(commands: Any) -> None:
    """Add ``check`` to a parser's commands."""
    parser = add_command(
        commands, "check", check_command, "validate the configuration; prints every error with its line"
    )
    parser.add_argument("--probe", action="store_true", help="also ask every upstream with every key (buys nothing)")
    parser.add_argument("--json", action="store_true", help="for scripts")


def check_command(options: argparse.Namespace) -> int:
    """Validate and, if asked, probe. A configuration that is wrong, or asks for what is not installed, raises
    ConfigError.
    """
    from gateway.config import end_warnings, misplaced_store
    from gateway.runtime import today
    from gateway.runtime.descriptors import lowered, possible_descriptor_limit

    config, now_ns = config_in_force(options.config), today.now_ns()
    if config.telemetry.refusal:
        raise ConfigError([config.telemetry.refusal])
    warnings = [
        *config.warnings,
        *(one.sentence for one in end_warnings(config, now_ns)),
        *filter(None, [lowered(config.limits.in_flight, possible_descriptor_limit())]),
        *_of_the_store(config),
    ]
    for warning in warnings:
        tell(f"warning: {warning}")
    refused = [*filter(None, [misplaced_store(config)])]
    for sentence in refused:
        tell(f"serve will refuse: {sentence}")
    if not options.json:
        say(_summary(config, now_ns))
    elif not options.probe:
        source = str(config.source or "built-in defaults")
        say(as_json({"source": source, "ok": True, "warnings": [*warnings, *refused]}))
    return _check_upstreams(config, options.json) if options.probe else DONE


def _of_the_store(config: Config) -> list[str]:
    """What is wrong with the keys of the store, if there is one, under this configuration. It is only read."""
    import asyncio

    from gateway.app.key_review import review_store
    from gateway.stores.engines import read_store

    if config.sqlite_path is None or not os.path.exists(config.sqlite_path):
        return []
    try:
        return asyncio.run(review_store(config, read_store(config.store)))
    except StoreError as error:
        return [f"the keys of the store were not looked at: {error}"]


def probe_table(rows: Sequence[Mapping[str, Any]], config: Config) -> str:
    """What the upstreams said, and which models want a better plan than the account may have."""
    from gateway.cli.tables import render

    if not rows:
        return "nothing to ask: no upstream has a key (set PIAPI_API_KEY or BACKUP_API_KEY)"
    columns = ("upstream", "endpoint", "upstream_key", "state", "plan", "balance_usd", "concurrency")
    text = render(rows, columns, right=frozenset({"balance_usd", "concurrency"}))
    wanting = [f"{plan}: {model}" for model, plan in config.plans.items()]
    return "\n".join([text, "", "models that want a plan:", *(f"  {line}" for line in wanting)]) if wanting else text


def _summary(config: Config, now_ns: int) -> str:
    """One line: where the configuration is from, and what it turns on."""
    on = sum(
        any(target.ends_ns is None or target.ends_ns > now_ns for target in route.targets) for route in config.routes
    )
    keys = "1 virtual key" if len(config.keys) == 1 else f"{len(config.keys)} virtual keys"
    off = ", ".join(config.off) or "none"
    source = " with ".join(str(one) for one in (config.source or "built-in defaults", config.catalogue) if one)
    return f"{source}: OK, {on} models on, {keys}, upstreams off: {off}"


def _check_upstreams(config: Config, as_rows: bool) -> int:
    """Ask every upstream with every key, and print what they said; a failure unless all are well."""
    from gateway.cli.process import run

    rows = run(probe_all(config))
    say(as_json(rows) if as_rows else probe_table(rows, config))
    return DONE if rows and all(row["state"] == "ok" for row in rows) else FAILED


async def probe_all(
    config: Config,
    watched: Callable[[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport] = lambda transport: transport,
    within: float | None = None,
) -> list[dict[str, Any]]:
    """The rows of ``probe`` for every upstream that has a key. ``watched``: puts something around the transport.
    ``within``: seconds for one answer; None for as long as ``check`` waits.
    """
    from gateway.cli.probe import PROBE_TIMEOUT, probe
    from gateway.upstream.dialer import SystemDialer
    from gateway.upstream.pool import ConnectionPool
    from gateway.upstream.transport import PoolTransport

    pool = ConnectionPool(SystemDialer())
    try:
        upstreams = [upstream for upstream in config.upstreams.values() if upstream.credentials]
        hosts = [endpoint for upstream in upstreams for endpoint in upstream.endpoints]
        return await probe(upstreams, watched(PoolTransport(pool, hosts)), within or PROBE_TIMEOUT)
    finally:
        await pool.close()
