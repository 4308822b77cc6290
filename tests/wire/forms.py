"""Forms as clients send them: written by hand, or by the official SDKs without a network."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from gateway.core.errors import ClientError

BOUNDARY = "----formdata-0123456789"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()


@contextmanager
def refused_with(codes: set[str]) -> Iterator[None]:
    """What runs inside may be refused with one of these codes, and may fail in no other way."""
    try:
        yield
    except ClientError as error:
        refusal = error
    else:
        return
    assert (refusal.status, refusal.type) == (400, "invalid_request_error")
    assert refusal.code in codes


def text_part(name: str, text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return b'Content-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + data


def file_part(name: str, data: bytes, content_type: str = "image/png", filename: str = "a.png") -> bytes:
    head = (
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'
    )
    return head.encode() + data


def form_of(parts: Sequence[bytes], boundary: str = BOUNDARY) -> bytes:
    mark = b"--" + boundary.encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def sent_by_python_sdk(method: str, **fields: Any) -> tuple[bytes, bytes]:
    """The body and the content type that openai-python makes of ``client.images.<method>(**fields)``."""

    def catch(request: httpx2.Request) -> httpx2.Response:
        caught.append((request.read(), request.headers["content-type"].encode()))
        return httpx2.Response(200, json={"created": 1, "data": []})

    caught: list[tuple[bytes, bytes]] = []
    with httpx2.Client(transport=httpx2.MockTransport(catch)) as http:
        client = openai.OpenAI(api_key="sk-test", base_url="http://gateway.test/v1", http_client=http, max_retries=0)
        getattr(client.images, method)(**fields)
    return caught[0]


_NODE = """
import OpenAI from "openai";
import { readFileSync } from "node:fs";
const { method, fields, files } = JSON.parse(readFileSync(0, "utf8"));
const blob = ({ data, name, type }) => new File([Buffer.from(data, "base64")], name, { type });
for (const [name, value] of Object.entries(files)) fields[name] = Array.isArray(value) ? value.map(blob) : blob(value);
let sent;
async function fetch(url, options) {
  if (options?.body === undefined) return new Response("");
  sent = new Response(options.body);
  return new Response('{"created": 1, "data": []}', { headers: { "content-type": "application/json" } });
}
const client = new OpenAI({ apiKey: "sk-test", baseURL: "http://gateway.test/v1", fetch, maxRetries: 0 });
await client.images[method](fields);
const body = Buffer.from(await sent.arrayBuffer()).toString("base64");
process.stdout.write(JSON.stringify({ body, type: sent.headers.get("content-type") }));
"""
_NODE_FOLDER = Path(__file__).parents[1] / "node"


def sent_by_node_sdk(method: str, fields: dict[str, Any], files: dict[str, Any]) -> tuple[bytes, bytes]:
    """The same of openai-node. ``files``: bytes, or a list of them, for each field.

    Skips the test where Node or its packages (scripts/node_sdk.sh) are absent.
    """
    executable = shutil.which("node")
    if executable is None or not (_NODE_FOLDER / "node_modules" / "openai").is_dir():
        pytest.skip("Node or its openai package is absent: the forms of the JavaScript SDK are NOT tested")

    def described(data: bytes) -> dict[str, str]:
        return {"data": base64.b64encode(data).decode(), "name": "a.png", "type": "image/png"}

    told = {name: list(map(described, v)) if isinstance(v, list) else described(v) for name, v in files.items()}
    done = subprocess.run(
        [executable, "--input-type=module", "-e", _NODE],
        cwd=_NODE_FOLDER,
        input=json.dumps({"method": method, "fields": fields, "files": told}).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    return base64.b64decode(report["body"]), report["type"].encode()
