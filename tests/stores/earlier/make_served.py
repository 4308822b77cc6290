"""Makes ``served.db.gz`` by the gateway of 89d152c, the last version before weekly and per-model budgets, as it served
its own sandbox. Run in a tree of that commit:

git archive 89d152c | tar -x -C TREE; cd TREE; PYTHONPATH=. python …/make_served.py FOLDER

Prints the key that is to be written into ``tests/stores/test_upgrade.py``.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

PEPPER = "5a" * 32
PORT, ADMIN = 18477, 18478


def piapi_gateway(folder: Path, *arguments: str) -> str:
    environ = os.environ | {"GATEWAY_KEY_PEPPER": PEPPER}
    line = [sys.executable, "-m", "gateway", *arguments]
    environ["PYTHONPATH"] = os.getcwd()
    return subprocess.run(line, cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout


def ask(key: str, path: str, **body: object) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    urllib.request.urlopen(request).read()


def chat(key: str, model: str, **more: object) -> None:
    ask(key, "/v1/chat/completions", model=model, messages=[{"role": "user", "content": "Hello"}], **more)


async def serve(folder: Path) -> None:
    from gateway.sandbox import Sandbox

    async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
        document = {
            "listen": f"127.0.0.1:{PORT}",
            "admin": {"listen": f"127.0.0.1:{ADMIN}"},
            "upstreams": {
                "piapi": {"endpoints": [{"url": sandbox.urls["api"]}], "keys": ["sandbox-key-one"]},
                "backup": {"endpoints": [{"url": sandbox.urls["backup"]}], "keys": ["sandbox-key-backup"]},
            },
            "images": {"fetch_private": True},
        }
        (folder / "config.yaml").write_text(json.dumps(document))
        await asyncio.to_thread(use, folder)


def use(folder: Path) -> None:
    key = piapi_gateway(folder, "keys", "create", "carol", "--team", "growth", "--budget", "50/total").splitlines()[0]
    piapi_gateway(folder, "keys", "create", "dave", "--models", "gpt-4o*", "--rpm", "3", "--note", "left in May")
    piapi_gateway(folder, "keys", "revoke", "dave")
    environ = os.environ | {"GATEWAY_KEY_PEPPER": PEPPER, "PYTHONPATH": os.getcwd()}
    gateway = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], cwd=folder, env=environ)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz").read()
                break
            except OSError:
                time.sleep(0.1)
        for _ in range(3):
            chat(key, "gpt-4o-mini")
            chat(key, "gpt-4o", stream=True)
        ask(key, "/v1/images/generations", model="flux-schnell", prompt="a lighthouse", response_format="b64_json")
        time.sleep(1)
    finally:
        gateway.terminate()
        gateway.wait()
    print(piapi_gateway(folder, "usage"), piapi_gateway(folder, "ledger", "verify"), key)


def main() -> None:
    folder = Path(sys.argv[1])
    asyncio.run(serve(folder))
    with closing(sqlite3.connect(folder / "gateway.db")) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with gzip.GzipFile(Path(__file__).parent / "served.db.gz", "wb", mtime=0) as packed:
        packed.write((folder / "gateway.db").read_bytes())


main()
