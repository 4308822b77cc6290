"""``piapi-gateway reload``: a running gateway reads its configuration again, and says what that changed."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from gateway.cli.command import DONE, FAILED, as_json, complete, config_path
from gateway.cli.output import say, tell
from gateway.core.errors import ConfigError, GatewayError, OperatorError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient

_ANSWER_SECONDS = 30.0
"""Seconds: a file that is being written is waited for, and certificates are read."""


def add_reload_parser(commands: Any) -> None:
    """Add ``reload`` to a parser's commands."""
    parser = commands.add_parser(
        "reload", help="have a running gateway read its configuration again; prints what that changed",
        description=_MEANING, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for scripts")
    complete(parser, reload_command)


def reload_command(options: argparse.Namespace) -> int:
    """Ask for the reload and print its answer, or every problem of the file."""
    import asyncio

    from gateway.cli.admin_client import AdminClient
    from gateway.config import load_admin

    try:
        admin = load_admin(config_path(options.config), os.environ)
    except ConfigError as error:  # not even the gateway's address can be read from it
        note = "No gateway was asked, since the file does not say where one is; what it runs with stays in force."
        return _rejected([*error.problems, note], options.json)
    try:
        answer = asyncio.run(_ask(AdminClient(f"http://{admin.listen}", admin.key)))
    except GatewayError as error:
        if error.code == "config_rejected":
            return _rejected(error.message.split("\n")[1:], options.json)
        raise OperatorError(error.message) from None
    if options.json:
        say(as_json(answer))
        return DONE
    say("\n".join([f"{answer['source']} is in force.", *(answer["changed"] or ["Nothing has changed."])]))
    for warning in answer["warnings"]:
        tell(f"warning: {warning}")
    for left in answer["not_taken_over"]:
        tell(f"not taken over: {left}")
    return DONE


async def _ask(client: AdminClient) -> dict[str, Any]:
    from gateway.cli.admin_client import NoGateway, WrongAdminKey
    from gateway.endpoints.admin.paths import RELOAD_PATH

    try:
        return await client.ask(
            "POST",
            RELOAD_PATH,
            known=lambda body: body.get("status") == "reloaded" and "changed" in body,
            doubt="its log has config_reloaded or config_rejected",
            timeout=_ANSWER_SECONDS,
        )
    except NoGateway as error:
        raise OperatorError(
            f"{error}; is it running, and does this configuration say where (admin.listen)? A file that lost that, or "
            "changed it, is not in force; what the gateway runs with stays."
        ) from None
    except WrongAdminKey as error:
        raise OperatorError(f"{error} If the file has a new admin.key, send the process SIGHUP instead.") from None


def _rejected(problems: list[str], for_scripts: bool) -> int:
    if for_scripts:
        say(as_json({"status": "rejected", "problems": problems}))
    else:
        tell("\n".join(problems))
    return FAILED


_MEANING = """\
Have a running gateway read its configuration again, and print what that changed. A file with a mistake
changes nothing: its errors are printed, one a line, and the exit code is 1. SIGHUP does the same; then
the answer is in the log."""
