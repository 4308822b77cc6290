"""The configuration of a gateway in front of the sandbox, ready to be saved and served with, and lines to try it."""

from __future__ import annotations

from urllib.parse import urlsplit

FILE = "sandbox.yaml"
KEY = "gw-sandbox-and-nothing-else"
"""The virtual key of the printed configuration. It is no secret: all it opens is a sandbox."""

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  what is listened on → where it is asked

_CONFIG = """\
# A gateway in front of the SANDBOX: every answer is simulated, nothing is bought.
# Save this as {file} and start: piapi-gateway serve --config {file}

listen: 127.0.0.1:8400
admin: {{listen: 127.0.0.1:8401}}
store: sqlite:///sandbox.db             # books of its own, apart from real ones

# One port of the sandbox plays every host; how the path begins says which. Any key is taken.
upstreams:
  piapi:
    dialect: piapi
    endpoints:
      - {{url: "{url}/role/api", wall: 120s}}    # behind a simulated Cloudflare
      - {{url: "{url}/role/proxy"}}              # the same without its limit
    keys: [sandbox-key-one, sandbox-key-two]
    tasks: {{poll: 300ms, poll_max: 1s, deadline: 2m}}    # simulated tasks are done at the third look
  backup:
    dialect: openai
    endpoints: [{{url: "{url}/role/backup"}}]
    keys: [sandbox-key-backup]

# Links to simulated pictures lead to the sandbox itself, which has a private address.
images: {{dir: sandbox-images, fetch_hosts: ["{host}"], fetch_private: true}}

# What clients send as their API key.
keys: [{{name: sandbox, key: {key}}}]
"""


def sandbox_config(url: str) -> str:
    """The YAML for a sandbox at ``url``, an address without a path."""
    url = _reachable(url)
    return _CONFIG.format(file=FILE, url=url, host=urlsplit(url).hostname, key=KEY)


def sandbox_banner(url: str, program: str) -> str:
    """What the command says once it listens. ``program``: how a shell calls this installation's command."""
    at = _reachable(url)
    chat = """'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}'"""
    return f"""SANDBOX listens on {url}

Everything it answers is simulated and says so; nothing is bought. One port plays three hosts: {at}/role/api and
/role/proxy are PiAPI's, /role/backup is the backup. Without a /role it is PiAPI's first. Any API key is taken.

Ask it directly:

curl -s {at}/v1/chat/completions -H 'Authorization: Bearer any-key' -H 'Content-Type: application/json' -d {chat}

Or put a gateway in front of it, with the configuration below, saved by

{program} sandbox --listen {urlsplit(at).netloc} --print-config > {FILE}

and served by

{program} serve --config {FILE}

curl -s http://127.0.0.1:8400/v1/chat/completions -H 'Authorization: Bearer {KEY}' \
-H 'Content-Type: application/json' -d {chat}

--- {FILE} ---
{sandbox_config(url)}--- end of {FILE} ---

Stop with Ctrl-C."""


def _reachable(url: str) -> str:
    """The address by which this machine reaches a sandbox that listens on ``url``."""
    split = urlsplit(url)
    host = _ANYWHERE.get(split.hostname or "")
    return url if host is None else f"{split.scheme}://{host}:{split.port}"
