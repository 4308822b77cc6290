"""``piapi-gateway demo``: the sandbox upstream and the gateway in one process, ready to be tried without any key."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.app.gateway import Gateway, build_log
from gateway.cli.process import serve_until_stopped
from gateway.config import Config, load
from gateway.sandbox import Sandbox

MODEL = "gpt-4o-mini"
IMAGE_MODEL = "flux-schnell"


async def run_demo(config_path: Path | None, environ: Mapping[str, str]) -> int:
    """Serve until stopped. ``config_path``: a file whose other settings (listen, limits, log …) are kept; its
    upstreams, keys and store are replaced by the sandbox, a demo key and a throw-away ledger.
    """
    with tempfile.TemporaryDirectory(prefix="piapi-gateway-demo-") as folder:
        async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
            key = "gw-demo-" + secrets.token_hex(16)
            path = Path(folder) / "config.yaml"
            path.write_text(_demo_config(config_path, environ, sandbox.urls, key, Path(folder)), encoding="utf-8")
            os.chmod(path, 0o600)

            def read() -> Config:
                return load(path, environ)

            config = read()
            log = build_log(config)
            log.bridge_stdlib()
            try:
                return await serve_until_stopped(
                    lambda: Gateway.start(config, log, read), lambda gateway: print_banner(gateway, key)
                )
            finally:
                log.close()


def print_banner(gateway: Gateway, key: str) -> None:
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
  metrics  {gateway.admin_url}/metrics

Try it with curl:

curl -sN {url}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'

Try it with Python:

python3 -c "{python}"

Draw an image, into image.png:

python3 -c "{draw}"

Stop with Ctrl-C.
""",
        file=sys.stdout,
        flush=True,
    )


def _demo_config(
    config_path: Path | None, environ: Mapping[str, str], urls: Mapping[Any, str], key: str, folder: Path
) -> str:
    kept: dict[str, Any] = {}
    if config_path is not None:
        load(config_path, environ)  # reports what is wrong in it, by its own lines
        kept = yaml.safe_load(config_path.read_text(encoding="utf-8")) or {}
    kept.setdefault("log", {"format": "text", "level": "warning"})
    return yaml.safe_dump(
        {
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
            "keys": [{"name": "demo", "team": "demo", "key": key}],
        }
    )
