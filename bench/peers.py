"""The servers that the gateway is measured beside: how each is started, found and installed.

    python -m bench.peers

installs into ``.bench/`` what ``peers.txt`` names, and says what has to be installed otherwise.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from bench import wire
from bench.processes import Server, free_port, listens, process, server_core, wait_until

PLACE = Path(__file__).parents[1] / ".bench"
PINS = Path(__file__).with_name("peers.txt")
PATIENCE = 120.0
"""Seconds a peer may take to start."""

SYSTEM = "apt-get install {name}, or your system's way"
OURS = "make bench-peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """How one is started.

    ``program``: where it is, or None. ``command``, ``config``, ``headers``: with $port, $upstream (the mock's URL),
    $host (its address), $folder and $config in them. It is ready when it listens. ``slow``: spared the heavy loads.
    """

    name: str
    how: str
    program: Callable[[], list[str] | None]
    command: tuple[str, ...]
    version: Callable[[], str | None]
    config: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False

    def missing(self) -> str | None:
        """How to install it, if it is not."""
        return None if self.program() else self.how.format(name=self.name)


def pins() -> dict[str, tuple[str, list[str]]]:
    """Name → with what it is installed, and what: the peer itself first, then what it depends on."""
    lines = (line.split() for line in PINS.read_text().splitlines() if line and not line.startswith("#"))
    return {name: (tool, whats) for name, tool, *whats in lines}


def present(names: list[str] | None = None) -> list[Peer]:
    """The peers that are installed; of ``names`` only, if given."""
    return [peer for peer in PEERS if (names is None or peer.name in names) and peer.program()]


@contextmanager
def peer_server(peer: Peer, folder: Path, upstream_port: int) -> Iterator[Server]:
    """Start one, wait until it listens. Raises BenchError if it does not."""
    port = free_port()
    config = folder / f"{peer.name}.yaml"  # Envoy goes by the name; nginx and HAProxy do not
    host = f"127.0.0.1:{upstream_port}"
    places = {
        "port": str(port), "host": host, "upstream_port": str(upstream_port), "upstream": f"http://{host}",
        "folder": str(folder), "config": str(config), "key": wire.KEY,
    }  # fmt: skip
    config.write_text(Template(peer.config).substitute(places))
    program = peer.program()
    assert program is not None
    command = [*program, *(Template(part).substitute(places) for part in peer.command)]
    headers = {name: Template(value).substitute(places) for name, value in peer.headers.items()}
    with process(command, folder, peer.name, server_core(), quiet=True) as running:
        wait_until(lambda: listens(port), running, folder / f"{peer.name}.log", PATIENCE)
        yield Server(running, port, headers=headers, slow=peer.slow)


def _system(name: str) -> Callable[[], list[str] | None]:
    def program() -> list[str] | None:
        found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return [found] if found else None

    return program


def _python(name: str, code: str) -> Callable[[], list[str] | None]:
    """By the venv's Python: a script's first line would name the place it was installed at."""

    def program() -> list[str] | None:
        python = PLACE / name / "bin" / "python"
        return [str(python), "-c", code] if (PLACE / name / "installed").exists() and python.exists() else None

    return program


def _node(name: str, script: str) -> Callable[[], list[str] | None]:
    def program() -> list[str] | None:
        node, path = shutil.which("node"), PLACE / name / "node_modules" / script
        return [node, str(path)] if node and (PLACE / name / "installed").exists() and path.exists() else None

    return program


def _said(name: str, *arguments: str) -> Callable[[], str | None]:
    """The version that a program of the system says it is."""

    def version() -> str | None:
        program = _system(name)()
        if program is None:
            return None
        ran = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=10)
        found = re.search(r"\d+\.\d+[.\d]*", ran.stdout + ran.stderr)
        return found[0] if found else None

    return version


def _pinned(name: str) -> Callable[[], str | None]:
    return lambda: re.split("==|@", pins()[name][1][0])[-1]


NGINX = """
daemon off;
master_process off;
pid $folder/nginx.pid;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 32m;
    keepalive_requests 1000000000;
    upstream mock {
        server $host;
        keepalive 1024;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$port backlog=4096;
        location / {
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-no-delay
    http-reuse always
listen bench
    bind 127.0.0.1:$port backlog 4096
    server mock $host pool-max-conn 8192
"""

ENVOY = """
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: "/"}, route: {cluster: mock, timeout: 0s}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: mock
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {thresholds: [{max_connections: 20000, max_pending_requests: 20000, max_requests: 20000}]}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $upstream_port}}}
"""

LITELLM = """
model_list:
- model_name: bench-*
  litellm_params: {model: openai/bench-*, api_base: "$upstream/v1", api_key: sk-upstream-bench}
general_settings: {master_key: $key}
"""

PEERS = (
    Peer("nginx", SYSTEM, _system("nginx"),
         ("-p", "$folder", "-e", "$folder/nginx.log", "-c", "$config"), _said("nginx", "-v"), NGINX),
    Peer("haproxy", SYSTEM, _system("haproxy"), ("-q", "-f", "$config"), _said("haproxy", "-v"), HAPROXY),
    Peer("envoy", OURS, _python("envoy", "from envoy._main import main; main()"),
         ("--config-path", "$config", "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"),
         _pinned("envoy"), ENVOY),
    Peer("portkey", OURS, _node("portkey", "@portkey-ai/gateway/build/start-server.js"),
         ("--port=$port", "--headless"), _pinned("portkey"),
         headers={"x-portkey-provider": "openai", "x-portkey-custom-host": "$upstream/v1"}, slow=True),
    Peer("litellm", OURS, _python("litellm", "from litellm import run_server; run_server()"),
         ("--config", "$config", "--host", "127.0.0.1", "--port", "$port", "--num_workers", "1"),
         _pinned("litellm"), LITELLM, slow=True),
)  # fmt: skip
"""In the order of the tables' columns, the quickest first. Each does its work in one process on one core."""


def install() -> int:
    """Install what can be and name the rest, what is the system's among it. Exit code 0: the bench does without."""
    for name, (tool, whats) in pins().items():
        what, *others = whats
        error = _installed(PLACE / name, tool, what, others)
        print(f"{name}: {what} is installed" if error is None else f"{name}: {what} cannot be installed: {error}")
    for peer in PEERS:
        if peer.name not in pins():
            print(f"{peer.name}: {peer.version() or 'not installed: ' + peer.how.format(name=peer.name)}")
    return 0


def _installed(place: Path, tool: str, what: str, others: list[str]) -> str | None:
    """Install it, unless it is there. Returns what went wrong."""
    mark, wanted = place / "installed", " ".join([what, *others])
    if mark.exists() and mark.read_text() == wanted:
        return None
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    error = _pip(place, [what, *others]) if tool == "pip" else _npm(place, what, others)
    if error is None:
        mark.write_text(wanted)
    return error


def _pip(place: Path, whats: list[str]) -> str | None:
    venv.create(place, with_pip=True)
    return _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *whats])


def _npm(place: Path, what: str, others: list[str]) -> str | None:
    npm = shutil.which("npm")
    if npm is None:
        return "it needs Node.js with npm"
    overrides = dict(other.rsplit("@", 1) for other in others)
    (place / "package.json").write_text(json.dumps({"private": True, "overrides": overrides}))
    return _run([npm, "install", "--prefix", str(place), "--no-audit", "--no-fund", "--ignore-scripts", what])


def _run(command: list[str]) -> str | None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return "it took longer than a quarter of an hour"
    return None if ran.returncode == 0 else ran.stderr.strip()[-600:]


if __name__ == "__main__":
    sys.exit(install())
