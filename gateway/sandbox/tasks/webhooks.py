"""PiAPI's webhooks, sent to loopback addresses only: the sandbox calls no other machine.

PiAPI posts ``{timestamp, data}`` with the task's secret as a plain ``x-webhook-secret`` header, no signature
(piapi.ai/docs/unified-webhook). It tries again up to three times; the sandbox does not, a failure is only noted.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson

_PATIENCE = 5.0  # seconds for one delivery, answer included
_REMEMBERED = 1000
_TARGET = re.compile(r"/[\x21-\x7e]*")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One webhook's delivery. ``status``: of the answer, None without one, or for an address beyond this machine."""

    task_id: str
    endpoint: str = field(repr=False)
    status: int | None


class WebhookSender:
    """The sender of webhooks. ``deliveries``: those that have ended, the oldest are forgotten.

    ``changed`` is called when a delivery has ended.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.deliveries: deque[WebhookDelivery] = deque(maxlen=_REMEMBERED)
        self._changed = changed
        self._running: set[asyncio.Task[None]] = set()

    def send(self, config: object, task_id: str, data: Mapping[str, Any]) -> None:
        """``config``: the task's own ``config``, as the client gave it. Returns at once."""
        webhook = config.get("webhook_config") if isinstance(config, dict) else None
        endpoint = webhook.get("endpoint") if isinstance(webhook, dict) else None
        if not isinstance(webhook, dict) or not isinstance(endpoint, str) or not endpoint:
            return
        body = orjson.dumps({"timestamp": int(time.time()), "data": data})
        work = self._deliver(task_id, endpoint, str(webhook.get("secret") or ""), body)
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _deliver(self, task_id: str, endpoint: str, secret: str, body: bytes) -> None:
        address = _on_this_machine(endpoint)
        status = None
        if address is not None:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    status = await _post(address, secret, body)
        self.deliveries.append(WebhookDelivery(task_id, endpoint, status))
        self._changed()


def _on_this_machine(endpoint: str) -> SplitResult | None:
    """The address's parts if it is plain http to a loopback address, else None."""
    try:
        parts = urlsplit(endpoint)
        loopback = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
        fit = parts.port != 0 and _TARGET.fullmatch(_target(parts))
    except ValueError:
        return None
    return parts if parts.scheme == "http" and loopback and fit else None


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def _post(parts: SplitResult, secret: str, body: bytes) -> int | None:
    """The status of the answer, None if it is no HTTP."""
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        fields = {
            "host": parts.netloc.rpartition("@")[2],
            "x-sandbox": "1",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        if secret.isascii() and secret.isprintable() and secret:
            fields["x-webhook-secret"] = secret
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST {_target(parts)} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()
        match = _STATUS.match(await reader.readline())
        return int(match[1]) if match else None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
