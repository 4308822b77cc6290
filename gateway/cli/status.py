"""``piapi-gateway status``: a running gateway's endpoints, keys and work in flight."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.cli.command import ADMIN, DONE, add_command, as_json, config_in_force
from gateway.cli.output import say, tell
from gateway.core.errors import GatewayError, OperatorError

if TYPE_CHECKING:
    from gateway.config import Config


LEARNED = (
    *("upstream", "operation", "model", "size", "quality", "pieces"),
    *("orders", "p10_seconds", "p50_seconds", "p90_seconds", "avoids"),
)
"""The columns of what was learned of orders; its seconds are empty until twelve were seen."""


FLEET = ("gateway", "state", "version", "hostname", "pid", "main_url", "in_flight", "started_at", "seen_at", "sees")
"""The columns of the gateways that share the store, where there are several."""


def add_status_parser(commands: Any) -> None:
    """Add ``status`` to a parser's commands."""
    parser = add_command(
        commands, "status", status_command, "show a running gateway's endpoints, keys and work in flight"
    )
    parser.add_argument("--watch", action="store_true", help="redraw until interrupted")
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between redraws")
    parser.add_argument("--json", action="store_true", help="for scripts")


def status_command(options: argparse.Namespace) -> int:
    """Show the state once, or again and again."""
    config = config_in_force(options.config, ADMIN)
    try:
        while True:
            try:
                _show(config, options)
            except OperatorError as error:
                if not options.watch:
                    raise
                tell(f"piapi-gateway: {error}")  # it may be starting again
            if not options.watch:
                return DONE
            time.sleep(options.interval)
    except KeyboardInterrupt:
        if options.watch:  # that is how one stops watching
            return DONE
        raise


async def read_status(config: Config) -> dict[str, Any]:
    """What the running gateway says of itself. Raises OperatorError, saying what to look at."""
    from gateway.cli.admin_client import AdminClient, NoGateway

    try:
        return await AdminClient.of(config).state()
    except NoGateway as error:
        raise OperatorError(f"{error}; is it running, with this configuration?") from None
    except GatewayError as error:
        raise OperatorError(error.message) from None


def status_text(status: Mapping[str, Any]) -> str:
    """A running gateway at a glance."""
    from gateway.cli.tables import render

    fleet = status.get("gateways", ())
    if status["draining"]:
        state = "draining"
    elif any(row["self"] and row["sees"].get("store") is False for row in fleet):
        state = "refusing requests, as its store is gone"
    else:
        state = "serving"
    lines = [
        f"piapi-gateway {status['version']}: {state}, {status['in_flight']} in flight, "
        f"{status['ledger_rows_pending']} ledger rows pending, "
        f"event loop {status['event_loop_lag_seconds'] * 1000:.1f} ms late",
        *_traffic(status),
        "",
    ]
    if len(fleet) > 1 or any(not row["self"] for row in fleet):
        lines += [render([_gateway(row) for row in fleet], FLEET), ""]
    endpoints = [{"upstream": one["name"], **row} for one in status["upstreams"] for row in one["endpoints"]]
    keys = [
        {"upstream": one["name"], "upstream_key": row["name"], **row, "cooling": _cooling(row)}
        for one in status["upstreams"]
        for row in one["keys"]
    ]
    if endpoints:
        lines += [render(endpoints, ("upstream", "url", "breaker", "retry_in")), ""]
    if keys:
        lines += [render(keys, ("upstream", "upstream_key", "in_flight", "max_parallel", "cooling", "retry_in")), ""]
    times = [
        {"upstream": one["name"], **one["latency_seconds"]} for one in status["upstreams"] if one.get("latency_seconds")
    ]
    if times:
        lines += [render(times, ("upstream", "p50", "p95", "first_token_p50", "requests")), ""]
    lists = [
        {"upstream": one["name"], "models_listed": one["model_list"]["models"], **one["model_list"]}
        for one in status["upstreams"]
        if "model_list" in one  # a gateway that is older than this command says nothing of it
    ]
    if any(row["asked_at"] for row in lists):
        lines += [render(lists, ("upstream", "models_listed", "asked_at", "reason")), ""]
    learned = [{**row, "avoids": " ".join(row["avoids"]) or None} for row in status.get("learned", ())]
    if learned:
        lines += [render(learned, LEARNED), ""]
    if status["off"]:
        lines.append(f"off, for want of a key: {', '.join(status['off'])}")
    return "\n".join(lines).rstrip()


def _gateway(row: Mapping[str, Any]) -> dict[str, Any]:
    """A gateway of the fleet, as a row of the table."""
    sees = " ".join(f"{engine}:{'up' if up else 'GONE'}" for engine, up in row["sees"].items())
    return {**row, "gateway": row["id"], "sees": sees or None}


def _traffic(status: Mapping[str, Any]) -> list[str]:
    """What came and what it cost; nothing where the gateway is older than this command."""
    if "rates" not in status:
        return []
    rates, spent = status["rates"], status["spend_today_usd"]
    return [
        f"last 5 minutes: {rates['requests_per_minute']:g} requests a minute, {rates['errors_per_minute']:g} of them "
        f"failed, {rates['refused_per_minute']:g} refused; charged today: "
        f"{'unknown' if spent is None else f'${spent:.4f}'}"
    ]


def _show(config: Config, options: argparse.Namespace) -> None:
    import asyncio

    status = asyncio.run(read_status(config))
    try:
        text = as_json(status) if options.json else status_text(status)
    except (LookupError, TypeError, ValueError, AttributeError):  # what listens there only looks like this gateway
        raise OperatorError("what answers at admin.listen is no gateway that this command understands") from None
    if options.watch and not options.json and sys.stdout.isatty():
        print("\x1b[H\x1b[2J", end="")
    say(text)


def _cooling(key: Mapping[str, Any]) -> str | None:
    """Why a key rests: as a whole, or for single models."""
    reasons = [key["cooling"]] if key["cooling"] else []
    reasons += [f"{row['model']}: {row['cooling']} for {row['retry_in']} s" for row in key["models"]]
    return "; ".join(reasons) or None


def _seconds(text: str) -> float:
    """An argument that is a time to wait."""
    seconds = float(text)
    if not math.isfinite(seconds) or seconds <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return seconds
