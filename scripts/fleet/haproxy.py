"""The shipped balancer (deploy/scale/haproxy.cfg) on this machine: the same file with other addresses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "deploy" / "scale" / "haproxy.cfg"

_SERVERS = re.compile(r"^ *server-template .*$", re.MULTILINE)
_RESOLVERS = re.compile(r"^resolvers .*?\n\n", re.MULTILINE | re.DOTALL)


def program() -> str | None:
    """HAProxy's path, if this machine has one."""
    return shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")


def configuration(gateways: Sequence[str], port: int, figures_port: int, *, around: str = "") -> str:
    """The shipped file for ``gateways`` (HOST:PORT) on ports of the loopback address.

    ``around``: lines of its global section, besides.
    """
    text = SHIPPED.read_text(encoding="utf-8")
    servers = "\n".join(f"    server gateway{number} {gateway}" for number, gateway in enumerate(gateways, 1))
    text, replaced = _SERVERS.subn(servers, text)
    text, without = _RESOLVERS.subn("", text)
    if (replaced, without) != (1, 1):
        raise ValueError(f"{SHIPPED} has no longer one server-template and one section of resolvers")
    changes = {
        "bind :8400\n": f"bind 127.0.0.1:{port}\n",
        "bind :8404\n": f"bind 127.0.0.1:{figures_port}\n",
        "maxconn 20000\n": "maxconn 2000\n",  # it takes two descriptors each, which a terminal may not have
    }
    for shipped, here in changes.items():
        if shipped not in text:
            raise ValueError(f"{SHIPPED} has no longer the line: {shipped.strip()}")
        text = text.replace(shipped, here)
    return text.replace("global\n", f"global\n{around}", 1)
