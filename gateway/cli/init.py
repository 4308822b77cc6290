"""``piapi-gateway init``: a short configuration to begin with, and the lines to paste next."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from gateway.cli.command import DEFAULT_CONFIG, DONE, add_command, as_json
from gateway.cli.output import say
from gateway.core.errors import OperatorError

TEMPLATE = """\
# The settings of this gateway. docs/configuration.md has every one; what is not here has its default.
# A '#' right before a word is an example: take the '#' away to use it. Other comments are for people.
# ${NAME} is filled from the environment, so that no key lies in this file; ${NAME:-} where it may be unset.
# After a change: piapi-gateway check, then piapi-gateway reload.

listen: 127.0.0.1:8400               # where clients ask; 0.0.0.0:8400 only behind a proxy with TLS
admin:
  listen: 127.0.0.1:8401             # metrics, keys and usage, for operators
  key: ${GATEWAY_ADMIN_KEY:-}        # 16 characters or more; may be unset as long as admin.listen is on loopback
store: sqlite:///gateway.db          # the ledger and the virtual keys, beside this file
time_zone: UTC                       # when the days and months of budgets begin, such as Europe/Berlin

upstreams:
  piapi:
    keys: ["${PIAPI_API_KEY}"]
  backup:                            # asked where PiAPI fails; off without a key
    keys: ["${BACKUP_API_KEY:-}"]

# Virtual keys are made by: piapi-gateway keys create NAME --budget 50/month. They can stand here, too:
#teams: {growth: {budget: 500/month, alert: 80}}
#keys: [{name: alice, key: "${ALICE_KEY}", budget: 50/month, rpm: 60, models: ["gpt-4o*", "flux-*"]}]
#auth: required
#images: {dir: ./images, keep: 24h, keep_max: 1GiB}
"""


def add_init_parser(commands: Any) -> None:
    """Add ``init`` to a parser's commands."""
    parser = add_command(
        commands,
        "init",
        init_command,
        "write a short configuration to begin with; prints what to do next",
        "the file to write, which must not be there yet; default: ./config.yaml",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def init_command(options: argparse.Namespace) -> int:
    """Write the file and print the next steps."""
    os.getcwd()  # raises where it is gone: no other name of a file would mend that
    path: Path = options.config or DEFAULT_CONFIG
    write_new(path, TEMPLATE.encode())
    steps = next_steps(path)
    if options.json:
        say(as_json({"config": str(path), "next": [line for _, line in steps]}))
    else:
        say("\n\n".join([f"{path} is written. Next:", *(f"# {what}\n{line}" for what, line in steps)]))
    return DONE


def write_new(path: Path, content: bytes) -> None:
    """Make a file that only its owner can read; all of it, or nothing is left. Raises OperatorError."""
    from gateway.runtime.disk import PRIVATELY

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PRIVATELY, 0o600)
    except FileExistsError:
        raise OperatorError(
            f"init: {path} is there already, and was left as it is. Look at it with: piapi-gateway check --config "
            f"{_quoted(path)}; or name another file: piapi-gateway init --config FILE"
        ) from None
    except OSError as error:
        raise OperatorError(
            f"init: {path} cannot be made: {error.strerror}. Name a file in a folder that can be written: --config FILE"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OperatorError(f"init: {path} cannot be written: {error.strerror}. Nothing was left of it.") from None
        raise


def next_steps(path: Path) -> list[tuple[str, str]]:
    """What to do next, each with its line for a shell."""
    from gateway.cli.demo import program_here

    program = program_here()
    config = "" if path == DEFAULT_CONFIG else f" --config {_quoted(path)}"
    return [
        ("The key of PiAPI, which stays out of the file. Put yours in:", "export PIAPI_API_KEY='your-piapi-key'"),
        ("See whether all is well (buys nothing, changes nothing):", f"{program} doctor{config}"),
        ("Make the first virtual key; it is shown once:", f"{program} keys create alice{config}"),
        ("Serve:", f"{program} serve{config}"),
    ]


def _quoted(path: Path) -> str:
    """A path as a shell takes it, and no command takes it for an option."""
    import shlex

    shown = str(path)
    return shlex.quote(f"./{shown}" if shown.startswith("-") else shown)
