"""Looks at the two listeners: a gateway of ours answers there, or the port is free, or another program has it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from gateway.cli.looks.finding import Finding, Seen, not_looked_at, ok, warning, wrong
from gateway.core.errors import GatewayError, OperatorError

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.config.addresses import HostPort
    from gateway.config.settings import AdminConfig

Port = Literal["free", "taken", "forbidden", "elsewhere", "any"]
"""A listener's port: nothing listens there; something does; this user may not; the address is not this machine's; the
system chooses one.
"""

ANSWER_WITHIN, READY_WITHIN = 6.0, 3.0
"""Seconds for what a gateway says of itself, and of its being ready."""

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""An address that stands for all of this machine, and one by which it can be asked."""

_LARGEST = 64 << 10


async def look_at_admin(seen: Seen) -> Sequence[Finding]:
    """The admin listener, and who answers there."""
    from gateway.cli.admin_client import NoGateway, WrongAdminKey

    name = "admin listener"
    if seen.admin is None:
        return [not_looked_at(name, "the configuration does not say where it is")]
    place = seen.admin.listen
    try:
        running = await _state(seen.admin)
    except NoGateway:
        return [judge_port(name, str(place), await asyncio.to_thread(see_port, place))]
    except WrongAdminKey:
        advice = "name the configuration it runs with (--config), or set admin.key to its key"
        return [wrong(name, f"what answers at {place} has another admin key", advice)]
    except (OperatorError, GatewayError, TimeoutError) as error:
        said = error.message if isinstance(error, GatewayError) else str(error) or f"no answer of a gateway at {place}"
        return [wrong(name, said, f"see what listens there: ss -ltnp 'sport = :{place.port}'")]
    return [judge_running(str(place), running), *_of_configuration(seen, running)]


async def _state(admin: AdminConfig) -> dict[str, Any]:
    from gateway.cli.admin_client import AdminClient

    async with asyncio.timeout(ANSWER_WITHIN):  # the client's own bounds one read, of which there may be many
        return await AdminClient(f"http://{admin.listen}", admin.key).state()


async def look_at_main(seen: Seen) -> Sequence[Finding]:
    """The main listener, and whether a gateway there is ready."""
    if seen.config is None:
        return []
    running = False
    if seen.admin is not None:
        with suppress(OperatorError, GatewayError, TimeoutError):
            running = bool(await _state(seen.admin))
    return [await _main(seen.config.listen, running)]


def judge_running(place: str, status: Mapping[str, Any]) -> Finding:
    """``status``: what the gateway there says of itself."""
    found = f"piapi-gateway {status.get('version')} answers at {place}, {status.get('in_flight')} in flight"
    if status.get("draining"):
        return warning("admin listener", f"{found}, and is stopping", "wait for its end, or see who stops it")
    return ok("admin listener", found)


def _of_configuration(seen: Seen, status: Mapping[str, Any]) -> list[Finding]:
    from gateway.stores.engines import read_store

    if seen.config is None or not seen.broken.isdisjoint(("store", "upstreams")):
        return []
    return [judge_sameness(status, read_store(seen.config.store).name, _hosts(seen.config))]


def _hosts(config: Config) -> dict[str, list[str]]:
    return {
        name: [endpoint.url for endpoint in upstream.endpoints]
        for name, upstream in config.upstreams.items()
        if name not in config.off
    }


def judge_sameness(status: Mapping[str, Any], store: str, hosts: Mapping[str, Sequence[str]]) -> Finding:
    """Whether the gateway runs with this configuration. ``store``, ``hosts``: what the configuration says; of each
    upstream with a key the URLs.
    """
    name = "its configuration"
    if status.get("store") != store:
        found = f"the running gateway's store is {status.get('store')}, and this configuration's {store}"
        return warning(name, found, "name the file that it runs with (--config), or restart it with this one")
    off = status.get("off", ())
    running = {
        one["name"]: [host["url"] for host in one["endpoints"]]
        for one in status.get("upstreams", ())
        if one["name"] not in off
    }
    if {upstream: running.get(upstream) for upstream in hosts} != dict(hosts) or set(running) - set(hosts):
        found = "the running gateway has other upstreams, or another environment, than this configuration"
        return warning(name, found, "take the file into force: piapi-gateway reload")
    return ok(name, "the running gateway has this store and these upstreams")


async def _main(place: HostPort, running: bool) -> Finding:
    name, port = "main listener", await asyncio.to_thread(see_port, place)
    if port == "taken":
        status, reasons = await _readiness(place)
        if running or status:
            return judge_ready(str(place), status, reasons, known=running)
    if running and port == "free":
        advice = "name the configuration it runs with (--config), or restart it"
        return warning(name, f"the gateway that runs does not listen at {place}", advice)
    return judge_port(name, str(place), port)


def judge_port(name: str, place: str, port: Port) -> Finding:
    """Where no gateway of ours answers."""
    if port == "free":
        return ok(name, f"{place} is free: no gateway runs there")
    if port == "any":
        return ok(name, f"{place}: the system chooses a port at the start, so nothing can be looked at")
    if port == "forbidden":
        return wrong(name, f"{place} may not be used by this user", "choose a port above 1023, or allow it to the unit")
    if port == "elsewhere":
        return wrong(name, f"{place} is no address of this machine", "listen on one of its own, or on 127.0.0.1")
    number = place.rpartition(":")[2]
    return wrong(name, f"another program has {place}", f"stop it, or choose another port: ss -ltnp 'sport = :{number}'")


def judge_ready(place: str, status: int, reasons: Sequence[str], *, known: bool) -> Finding:
    """``status``: of ``/readyz``, 0 for no answer of a gateway. ``reasons``: those against sending requests there.
    ``known``: whether a gateway answers at the admin address, too.
    """
    name = "main listener"
    if status == 503 and reasons:
        advice = "see the rows about the store, and its log"
        return wrong(name, f"the gateway at {place} is not ready: {', '.join(reasons)}", advice)
    if not status:
        advice = (
            "a gateway runs at the admin address, and something else here: name the configuration that it runs with"
        )
        return wrong(name, f"what answers at {place} is no gateway", advice)
    if not known:
        advice = "name the configuration it runs with (--config): its admin address or key is another one"
        return warning(name, f"a gateway answers at {place}, and none of ours at the admin address", advice)
    return ok(name, f"a gateway answers at {place}, and is ready")


async def _readiness(place: HostPort) -> tuple[int, list[str]]:
    import httpx2
    import orjson

    from gateway.cli.bounded_answer import read_bounded

    host = _ANY.get(place.host, place.host)
    url = f"http://[{host}]:{place.port}/readyz" if ":" in host else f"http://{host}:{place.port}/readyz"
    try:
        async with asyncio.timeout(READY_WITHIN), httpx2.AsyncClient(timeout=READY_WITHIN, trust_env=False) as client:
            answer, body = await read_bounded(client, "GET", url, _LARGEST)
            told = orjson.loads(body or b"")
    except (httpx2.HTTPError, orjson.JSONDecodeError, TimeoutError):
        return 0, []
    if not isinstance(told, dict) or told.get("status") not in ("ok", "unavailable"):
        return 0, []
    reasons = told.get("reasons")
    return answer.status_code, list(map(str, reasons)) if isinstance(reasons, list) else []


def see_port(place: HostPort) -> Port:
    """What could be bound there; nothing is listened to."""
    if not place.port:
        return "any"
    try:
        family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            if os.name == "posix":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except socket.gaierror:
        return "elsewhere"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "taken"
        return "forbidden" if error.errno in (errno.EACCES, errno.EPERM) else "elsewhere"
    return "free"
