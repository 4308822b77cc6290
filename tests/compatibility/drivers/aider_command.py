"""aider: its command with one message, to answer a question or to edit a file."""

import os
from pathlib import Path

from calls import V1, serve
from terminal import CommandError, typed

AIDER = f"{os.environ.get('CLIENT')}/bin/aider"
OPTIONS = [
    "--model", "openai/gpt-4o-mini", "--openai-api-base", V1, "--yes-always", "--no-git", "--no-check-update",
    "--no-show-model-warnings", "--analytics-disable", "--no-show-release-notes", "--no-pretty",
]  # fmt: skip


ALONE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "COLUMNS": "200"}


def asked(order, *options):
    """What it shows. It asks again for a minute, whatever an error says; a person reads the error before."""
    line = [AIDER, *OPTIONS, "--openai-api-key", order["key"], *options, "--message", order["prompt"]]
    shown = typed(line, ALONE, until=lambda seen: "Retrying in 2" in seen)
    if "Tokens:" not in shown:
        raise CommandError(shown)
    return shown


def whole(order):
    return {"text": asked(order, "--chat-mode", "ask", "--no-stream")}


def stream(order):
    return {"text": asked(order, "--chat-mode", "ask", "--stream")}


def tools(order):
    """The model's answer holds a file, which aider writes."""
    file = Path("rome.txt")
    file.write_text("")
    asked(order, "--edit-format", "whole", str(file))
    return {"text": file.read_text(), "tools": ["an edit"]}


serve({"chat/whole": whole, "chat/stream": stream, "chat/tools": tools})
