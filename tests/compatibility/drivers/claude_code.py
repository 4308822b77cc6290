"""Claude Code, as a command: its answers as text, as a stream of events, and with its tool Bash."""

import json
import os
from pathlib import Path

from calls import BASE_URL, serve
from terminal import command

CLAUDE = next(Path(os.environ.get("CLIENT", "/")).glob("node_modules/@anthropic-ai/claude-code-*/claude"), None)


def asked(order, *options):
    environment = {
        "ANTHROPIC_BASE_URL": BASE_URL,
        "ANTHROPIC_AUTH_TOKEN": order["key"],
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return command([CLAUDE, "--model", "claude-sonnet-4-6", *options, "-p", order["prompt"]], environment)


def whole(order):
    return {"text": asked(order)}


def stream(order):
    lines = asked(order, "--verbose", "--output-format", "stream-json", "--include-partial-messages").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    inner = [event["event"] for event in events if event["type"] == "stream_event"]
    pieces = [event["delta"]["text"] for event in inner if event.get("delta", {}).get("type") == "text_delta"]
    return {"text": events[-1]["result"], "pieces": len(pieces)}


def tools(order):
    lines = asked(order, "--verbose", "--output-format", "stream-json", "--allowedTools", "Bash").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    used = [
        block["name"]
        for event in events
        if event["type"] == "assistant"
        for block in event["message"]["content"]
        if block["type"] == "tool_use"
    ]
    return {"text": events[-1]["result"], "tools": used}


serve({"messages/whole": whole, "messages/stream": stream, "messages/tools": tools})
