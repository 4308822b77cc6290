"""codex: as a command, and typed to in a terminal, with the configuration of docs/responses.md."""

import json
import os
import tomllib
from pathlib import Path

from calls import V1, serve
from terminal import command, typed

CODEX = f"{os.environ.get('CLIENT')}/node_modules/.bin/codex"
CONFIGURATION = """
model = "gpt-4.1"
model_provider = "piapi"
web_search = "disabled"

[model_providers.piapi]
name = "piapi-gateway"
base_url = "{v1}"
env_key = "GATEWAY_KEY"
wire_api = "responses"

[projects."{here}"]
trust_level = "trusted"
"""


def configured(order):
    text = CONFIGURATION.format(v1=V1, here=Path.cwd())
    assert tomllib.loads(text)
    folder = Path.home() / ".codex"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text)
    return {"GATEWAY_KEY": order["key"]}


def asked(order):
    """The items that codex tells of."""
    options = ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    printed = command([CODEX, "exec", *options, order["prompt"]], configured(order))
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return [event["item"] for event in events if event["type"] == "item.completed"]


def texts(items):
    return "\n".join(item["text"] for item in items if item["type"] == "agent_message")


def whole(order):
    return {"text": texts(asked(order))}


def stream(order):
    said = f"You said: {order['prompt']}"
    line = [CODEX, "--no-alt-screen", order["prompt"]]
    seen = typed(line, configured(order), until=lambda seen: said in seen, linger=2.0)  # it asks for a title, too
    return {"text": " ".join(seen.split())}


def tools(order):
    items = asked(order)
    commands = [item["type"] for item in items if item["type"] == "command_execution"]
    return {"text": texts(items), "tools": commands}


serve({"responses/whole": whole, "responses/stream": stream, "responses/tools": tools})
