"""Looks at the upstreams: every key at every endpoint, the way there, and this machine's clock by their answers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx2

from gateway.cli.looks.finding import Finding, Seen, ok, warning, wrong

if TYPE_CHECKING:
    from gateway.config import Config

ANSWER_WITHIN = 6.0
"""Seconds for one answer."""

FAR_OFF = 120.0
"""Seconds by which a clock may differ: the days of budgets and certificates suffer from more."""


class DatedTransport(httpx2.AsyncBaseTransport):
    """Another transport, whose answers' dates are held against this machine's clock. ``ahead``: host → seconds by which
    this machine's clock is ahead.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.ahead: dict[str, float] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        try:
            dated = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return answer
        self.ahead[request.url.host] = time.time() - dated
        return answer


async def look_at_upstreams(seen: Seen) -> Sequence[Finding]:
    """Every key at every endpoint, the proxies in force, and the clock."""
    if seen.config is None:
        return []
    config = seen.config
    without = [*judge_keys_there(config.upstreams, config.off), *judge_proxies(_proxies(config))]
    if seen.offline:
        return [*without, ok("upstreams", "not asked (--offline)")]
    rows, ahead = await _asked(config)
    return [*without, *judge_upstreams(rows), *judge_clock(ahead)]


async def _asked(config: Config) -> tuple[list[dict[str, Any]], Mapping[str, float]]:
    from gateway.cli.check import probe_all

    dated: list[DatedTransport] = []

    def watched(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
        dated.append(DatedTransport(transport))
        return dated[0]

    rows = await probe_all(config, watched, ANSWER_WITHIN)
    return rows, dated[0].ahead


def judge_keys_there(upstreams: Mapping[str, Any], off: Sequence[str]) -> list[Finding]:
    """``off``: the upstreams that have no key."""
    if set(upstreams) <= set(off):
        advice = "run: export PIAPI_API_KEY='your-piapi-key'; or name one under upstreams.piapi.keys"
        return [wrong("upstreams", "none has a key, so nothing can be answered", advice)]
    return []


def judge_upstreams(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """``rows``: of the probe. An endpoint that fails is wrong only where no other one works."""
    works: dict[str, bool] = defaultdict(bool)
    for row in rows:
        works[row["upstream"]] |= row["state"] == "ok"
    return [judge_upstream(row, otherwise=works[row["upstream"]]) for row in rows]


def judge_upstream(row: Mapping[str, Any], *, otherwise: bool) -> Finding:
    """``otherwise``: whether the upstream works by another key or endpoint."""
    name, state = f"upstream {row['upstream']}", row["state"]
    place = f"{row['endpoint']}, key {row['upstream_key']}"
    if state == "ok":
        return _judge_account(name, place, row)
    found, advice = f"{place}: {state}", "see whether it is down for all; requests go to what works meanwhile"
    if "key is refused" in state:
        return wrong(name, f"{place}: {state.partition(':')[0]}", "replace it in the configuration, then reload")
    if "certificate" in state.lower() or "ssl" in state.lower() or "tls" in state.lower():
        advice = "TLS fails: name the company's authority as ca_file, and see that this machine's clock is right"
    elif state.startswith("unreachable"):
        advice = (
            "see the name (getent hosts), the firewall and the proxy; docs/operating.md, 'Behind a company's proxy'"
        )
    return (warning if otherwise else wrong)(name, found, advice)


def _judge_account(name: str, place: str, row: Mapping[str, Any]) -> Finding:
    balance, plan = row.get("balance_usd"), row.get("plan")
    told = ", ".join(
        [*([f"plan {plan}"] if plan else []), *([f"${balance:.2f} left"] if isinstance(balance, int | float) else [])]
    )
    found = f"{place}: ok{f', {told}' if told else ''}"
    if isinstance(balance, int | float) and balance <= 0:
        return warning(name, found, "top the account up: it buys nothing any more")
    return ok(name, found)


def judge_clock(ahead: Mapping[str, float]) -> list[Finding]:
    """``ahead``: by which this machine's clock is, by the answer of each host. One that is right is enough."""
    if not ahead:
        advice = "compare it yourself: timedatectl, chronyc tracking"
        return [warning("clock", "not looked at: no upstream's answer said what time it is", advice)]
    host, seconds = min(ahead.items(), key=lambda one: abs(one[1]))
    if abs(seconds) <= FAR_OFF:
        return [ok("clock", f"as {host}'s, within {FAR_OFF:g} s")]
    way = "ahead of" if seconds > 0 else "behind"
    advice = "put it right (timedatectl, chronyc tracking): the days of budgets and TLS go by it"
    return [warning("clock", f"{abs(seconds):.0f} s {way} that of {host}", advice)]


def _proxies(config: Config) -> dict[str, str]:
    return {
        upstream.name: str(endpoint.options.proxy)
        for upstream in config.upstreams.values()
        for endpoint in upstream.endpoints
        if endpoint.options.proxy is not None and upstream.credentials
    }


def judge_proxies(proxies: Mapping[str, str]) -> list[Finding]:
    """``proxies``: of each upstream that is reached through one."""
    if not proxies:
        return []
    return [ok("proxies", ", ".join(f"{name} through {proxy}" for name, proxy in proxies.items()))]
