"""``piapi-gateway demo``: the sandbox upstream and the gateway in one process, ready to be tried without any key."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.command import add_command, servable_config
from gateway.cli.user_signals import survive_user_signals
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from gateway.app.gateway import Gateway
    from gateway.config import Config

MODEL = "gpt-4o-mini"
IMAGE_MODEL = "flux-schnell"

FIXED_KEY = "gw-demo"
"""A key that can be written down, as the README does. It is no secret, so the demo alone takes it, and only while it
listens on loopback: all it opens is a sandbox, to programs of this machine."""


def add_demo_parser(commands: Any) -> None:
    """Add ``demo`` to a parser's commands."""
    add_command(
        commands,
        "demo",
        demo_command,
        "run the gateway on a built-in sandbox; prints a key and lines to try",
        "take its other settings (listen, limits, log …) from a file; default: none, also where ./config.yaml is",
    )


def demo_command(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    survive_user_signals()
    from gateway.cli.process import run_server

    return run_server(run_demo(options.config, os.environ))


async def run_demo(config_path: Path | None, environ: Mapping[str, str]) -> int:
    """Serve until stopped. ``config_path``: a file whose other settings (listen, limits, log …) are kept; its
    upstreams, keys and store are replaced by the sandbox, the demo's keys and a throw-away ledger.
    """
    import secrets
    import tempfile

    from gateway.app.gateway import Gateway
    from gateway.app.log_output import build_log
    from gateway.cli.process import serve_until_stopped
    from gateway.config import load, without_ends
    from gateway.sandbox import Sandbox

    with tempfile.TemporaryDirectory(prefix="piapi-gateway-demo-") as name:
        folder = Path(name)
        async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
            key = "gw-" + secrets.token_hex(20)
            settings = demo_settings(config_path, environ, sandbox.urls, key, folder)
            path = _write_settings(folder / "config.yaml", settings)

            def read() -> Config:
                return without_ends(load(path, environ))  # what OpenAI shuts down the sandbox has still

            def announce(gateway: Gateway) -> None:
                print_banner(gateway, key, usage_line(gateway, config_path, folder))

            config = read()
            log = build_log(config)
            log.bridge_stdlib()
            try:
                return await serve_until_stopped(lambda: Gateway.start(config, log, read), announce, log)
            finally:
                log.close()


def demo_settings(
    config_path: Path | None, environ: Mapping[str, str], urls: Mapping[Any, str], key: str, folder: Path
) -> dict[str, Any]:
    """A configuration file's content: a file's settings, with the sandbox, the demo's keys and a store in ``folder``.

    ``urls``: of the sandbox, by role. ``key``: the random one. Raises ConfigError, by the file's own lines.
    """
    import yaml

    from gateway.config import beside_file, load

    config = load(config_path, environ)
    kept = {} if config_path is None else yaml.safe_load(config_path.read_text(encoding="utf-8")) or {}
    if config.catalogue is not None:
        kept["catalogue"] = str(config.catalogue.absolute())  # what the demo writes lies elsewhere
    if config_path is not None and kept.get("ca_file"):
        kept["ca_file"] = str(beside_file(kept["ca_file"], config_path.parent).absolute())
    if config.log.file is not None:
        kept["log"] = {**kept["log"], "file": str(config.log.file.absolute())}
    kept.setdefault("log", {"format": "text", "level": "warning"})
    keys = [{"name": "demo", "team": "demo", "key": key}]
    if config.listen.is_loopback:
        keys.append({"name": "demo-fixed", "team": "demo", "key": FIXED_KEY})
    return {
        **kept,
        "auth": "required",
        "store": f"sqlite:///{folder / 'gateway.db'}",
        "upstreams": {
            "piapi": {
                "endpoints": [{"url": urls["api"], "wall": "120s"}, {"url": urls["proxy"]}],
                "keys": ["sandbox-key-one", "sandbox-key-two"],
                "tasks": {"poll": "300ms", "poll_max": "1s"},
            },
            "backup": {"endpoints": [{"url": urls["backup"]}], "keys": ["sandbox-key-backup"]},
        },
        # The sandbox hands out links to its own images, which are on this machine.
        "images": {"dir": str(folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True},
        "teams": {"demo": {}},
        "keys": keys,
    }


def print_banner(gateway: Gateway, key: str, usage_line: str) -> None:
    """What to try, ready to be pasted into a shell."""
    url = gateway.main_url
    body = f'{{"model": "{MODEL}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'
    python = (
        "import json, urllib.request as http; "
        f"ask = http.Request('{url}/v1/chat/completions', "
        f"json.dumps({{'model': '{MODEL}', 'messages': [{{'role': 'user', 'content': 'Hello'}}]}}).encode(), "
        f"{{'authorization': 'Bearer {key}', 'content-type': 'application/json'}}); "
        "print(json.load(http.urlopen(ask))['choices'][0]['message']['content'])"
    )
    order = f"{{'model': '{IMAGE_MODEL}', 'prompt': 'a lighthouse', 'response_format': 'b64_json'}}"
    draw = (
        "import base64, json, urllib.request as http; "
        f"ask = http.Request('{url}/v1/images/generations', json.dumps({order}).encode(), "
        f"{{'authorization': 'Bearer {key}', 'content-type': 'application/json'}}); "
        "made = json.load(http.urlopen(ask))['data'][0]['b64_json']; "
        "print(open('image.png', 'wb').write(base64.b64decode(made)), 'bytes in image.png')"
    )
    print(
        f"""
piapi-gateway DEMO: no upstream key is set, so the answers come from a built-in SANDBOX. Nothing is bought.
To serve PiAPI instead: stop this and run   PIAPI_API_KEY=… make run

  key      {key}
  OpenAI   export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}
  console  {gateway.admin_url}/
  metrics  {gateway.admin_url}/metrics

Try it with curl:

curl -sN {url}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'

Try it with Python:

python3 -c "{python}"

Draw an image, into image.png:

python3 -c "{draw}"

See what it would have cost:

{usage_line}

Stop with Ctrl-C.
""",
        file=sys.stdout,
        flush=True,
    )


def program_here() -> str:
    """How a shell in this folder calls this installation's ``piapi-gateway``."""
    import shlex
    import shutil
    import sysconfig

    script = Path(sysconfig.get_path("scripts")) / "piapi-gateway"
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m gateway"
    found = shutil.which("piapi-gateway")
    if found is not None and os.path.samefile(found, script):
        return "piapi-gateway"
    folder = Path.cwd()
    return shlex.quote(str(script.relative_to(folder) if script.is_relative_to(folder) else script))


def usage_line(gateway: Gateway, config_path: Path | None, folder: Path) -> str:
    """A ``usage`` command that finds this gateway: without options if it does so by itself, else by a file."""
    import shlex

    line = f"{program_here()} usage"
    if _leads_to(None, gateway):
        return line
    if config_path is None or not _leads_to(config_path, gateway):
        admin = {"listen": gateway.admin_url.removeprefix("http://"), "key": gateway.config.admin.key}
        config_path = _write_settings(folder / "admin.yaml", {"admin": admin, "store": gateway.config.store})
    return f"{line} --config {shlex.quote(str(config_path))}"


def _leads_to(config_path: Path | None, gateway: Gateway) -> bool:
    """Whether a command finds the gateway by this file, and is let in."""
    try:
        admin = servable_config(config_path).admin
    except ConfigError:
        return False
    key = gateway.config.admin.key
    return f"http://{admin.listen}" == gateway.admin_url and (not key or admin.key == key)


def _write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """A configuration file that only its owner can read."""
    import yaml

    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    return path
