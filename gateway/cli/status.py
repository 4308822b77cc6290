"""What the command line shows for eyes: the catalogue, a probe, a running gateway's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import httpx2

from gateway.cli.tables import render
from gateway.config import Config
from gateway.core.errors import OperatorError

ADMIN_TIMEOUT = 5.0
"""Seconds."""

_PRICES = ("input", "cached_input", "output", "image_input", "image", "no_image", "minimum")


class CommandResult(NamedTuple):
    """What a command has to say. ``problems``: it has failed, at least in part; one sentence each, as ``notes``."""

    text: str
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def models_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a target; token prices are US dollars per 1M tokens, the others US dollars apiece."""
    lines = []
    for row in rows:
        for place, target in enumerate(row["targets"]):
            price = target["price"] or {}
            lines.append(
                {
                    "model": row["model"] if place == 0 else "",
                    "upstream": target["upstream"],
                    "upstream_model": target["model"],
                    "operation": target["operation"],
                    "state": target["state"],
                    "price_usd": _price(price),
                    "plan": row["plan"] if place == 0 else "",
                }
            )
    columns = ("model", "upstream", "upstream_model", "operation", "state", "price_usd", "plan")
    return render(lines, columns)


def probe_table(rows: Sequence[Mapping[str, Any]], config: Config) -> str:
    """What the upstreams said, and which models want a better plan than the account may have."""
    if not rows:
        return "nothing to ask: no upstream has a key (set PIAPI_API_KEY or BACKUP_API_KEY)"
    columns = ("upstream", "endpoint", "upstream_key", "state", "plan", "balance_usd", "concurrency")
    text = render(rows, columns, right=frozenset({"balance_usd", "concurrency"}))
    wanting = [f"{plan}: {model}" for model, plan in config.plans.items()]
    return "\n".join([text, "", "models that want a plan:", *(f"  {line}" for line in wanting)]) if wanting else text


async def read_status(config: Config) -> dict[str, Any]:
    """Ask the admin listener. Raises OperatorError, saying what to look at."""
    place = config.admin.listen
    url = f"http://{place}/admin/v1/upstreams"
    headers = {"authorization": f"Bearer {config.admin.key}"} if config.admin.key else {}
    try:
        async with httpx2.AsyncClient(timeout=ADMIN_TIMEOUT, trust_env=False) as client:
            answer = await client.get(url, headers=headers)
    except httpx2.HTTPError as error:
        raise OperatorError(f"no gateway answers at {url} ({error}); is it running, with this configuration?") from None
    if answer.status_code == 401:
        raise OperatorError(f"{url} answered 401; admin.key is not the running gateway's")
    try:
        found = answer.json() if answer.status_code == 200 else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "ledger_rows_pending" not in found:
        raise OperatorError(f"{url} answered {answer.status_code}, but not as this gateway does; what listens there?")
    return found


def status_text(status: Mapping[str, Any]) -> str:
    """A running gateway at a glance."""
    state = "draining" if status["draining"] else "serving"
    lines = [
        f"piapi-gateway {status['version']}: {state}, {status['in_flight']} in flight, "
        f"{status['ledger_rows_pending']} ledger rows pending, "
        f"event loop {status['event_loop_lag_seconds'] * 1000:.1f} ms late",
        "",
    ]
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
    if status["off"]:
        lines.append(f"off, for want of a key: {', '.join(status['off'])}")
    return "\n".join(lines).rstrip()


def _cooling(key: Mapping[str, Any]) -> str | None:
    """Why a key rests: as a whole, or for single models."""
    reasons = [key["cooling"]] if key["cooling"] else []
    reasons += [f"{row['model']}: {row['cooling']} for {row['retry_in']} s" for row in key["models"]]
    return "; ".join(reasons) or None


def _price(price: Mapping[str, Any]) -> str:
    if not price:
        return "unknown"
    parts = [f"{name} {price[name]}" for name in _PRICES if name in price]
    if "table" in price:
        amounts = [amount for sizes in price["table"].values() for amount in sizes.values()]
        parts.append(f"an image {min(amounts, key=float)} to {max(amounts, key=float)}")
    return ", ".join(parts)
