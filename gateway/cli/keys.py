"""``piapi-gateway keys …``: what is asked, of whom, and how the answer looks.

A running gateway is asked through its admin API, and obeys at once. Without one the store is read and written here.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from gateway.app.assembly import key_rules
from gateway.cli.admin_client import AdminClient, by_the_one_writer
from gateway.cli.key_local import local_key_listing, local_key_service
from gateway.cli.key_remote import RemoteKeys
from gateway.cli.tables import render
from gateway.config import Config
from gateway.core.errors import invalid_request
from gateway.core.pricing.prices import format_usd
from gateway.keys.fields import SETTINGS
from gateway.keys.service import GRACE, KeyListing, KeyService

Shown = dict[str, Any]
Listing = KeyListing | RemoteKeys
Service = KeyService | RemoteKeys

_LIST_COLUMNS = ("name", "team", "state", "models", "budget", "used_usd", "left_usd", "rpm", "tpm", "parallel")
_NUMBERS = frozenset({"used_usd", "left_usd", "rpm", "tpm", "parallel"})


def obey(config: Config, options: argparse.Namespace) -> str:
    """Do what the options ask; returns what to print.

    Raises GatewayError for what cannot be done, status 400 for what makes no sense; StoreError, OperatorError.
    """
    answer = asyncio.run(_answer(config, options))
    if options.json:
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()
    text: str = options.text(answer)
    return text


async def _answer(config: Config, options: argparse.Namespace) -> Any:
    """The gateway's answer; without one, our own."""
    url = f"http://{config.admin.listen}"
    remote = RemoteKeys(AdminClient(url, config.admin.key))
    return await by_the_one_writer(url, lambda: options.work(remote, options), lambda: _here(config, options))


async def _here(config: Config, options: argparse.Namespace) -> Any:
    rules = key_rules(config)
    if not options.changes:
        teams = {team.name: team.budget for team in config.teams.values() if team.budget is not None}
        return await options.work(await local_key_listing(config.store, rules, teams, time.time_ns), options)
    async with local_key_service(config.store, rules, config.key_pepper, time.time_ns) as service:
        return await options.work(service, options)


async def _list(listing: Listing, options: argparse.Namespace) -> list[Shown]:
    found: list[Shown] = []
    page = await listing.page(include_revoked=options.all)
    found += page["data"]
    while page["has_more"]:
        page = await listing.page(page["last"], include_revoked=options.all)
        found += page["data"]
    return found


async def _show(listing: Listing, options: argparse.Namespace) -> Shown:
    return await listing.show(options.name)


async def _create(service: Service, options: argparse.Namespace) -> Shown:
    return await service.create({"name": options.name, **_chosen(options)})


async def _set(service: Service, options: argparse.Namespace) -> Shown:
    chosen = _chosen(options)
    if not chosen:
        raise invalid_request("Say what to set, such as --rpm 60 or --budget none.")
    return await service.change(options.name, chosen)


async def _rotate(service: Service, options: argparse.Namespace) -> Shown:
    return await service.rotate(options.name, {"grace": options.grace})


async def _revoke(service: Service, options: argparse.Namespace) -> Shown:
    return await service.revoke(options.name)


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, and no others."""
    return {name: getattr(options, name) for name in SETTINGS if hasattr(options, name)}


def _listed(keys: Sequence[Shown]) -> str:
    if not keys:
        return "There are no keys yet. Make one with: piapi-gateway keys create NAME"
    rows = [
        {
            **key,
            "models": ", ".join(key["models"]),
            "used_usd": _dollars(key["budget_used_usd"]),
            "left_usd": _dollars(key["budget_left_usd"]),
        }
        for key in keys
    ]
    return render(rows, (*_LIST_COLUMNS, "expires", "source"), right=_NUMBERS)


def _card(key: Shown) -> str:
    """One key, one line a fact; what is not set is left out."""
    team = key["team_budget"] or {}
    facts = {
        "key": key["name"],
        "state": f"{key['state']} since {key['revoked']}" if key["revoked"] else key["state"],
        "team": key["team"],
        "models": ", ".join(key["models"]),
        "budget": _budget(key["budget"], key, "budget_"),
        "team budget": _budget(team.get("budget"), team, ""),
        "requests": None if key["rpm"] is None else f"{key['rpm']} a minute",
        "tokens": None if key["tpm"] is None else f"{key['tpm']} a minute",
        "parallel": None if key["parallel"] is None else f"{key['parallel']} requests at once",
        "expires": key["expires"],
        "note": key["note"],
        "created": key["created"] or "in the configuration file",
        "old key": None if key["old_key_until"] is None else f"works until {key['old_key_until']}",
    }
    rows = [{"fact": fact, "value": value} for fact, value in facts.items() if value]
    return render(rows, ("fact", "value")).partition("\n")[2]


def _budget(budget: str | None, state: Shown, prefix: str) -> str | None:
    if budget is None or state[f"{prefix}used_usd"] is None:
        return budget
    used, left = (_dollars(state[f"{prefix}{name}_usd"]) for name in ("used", "left"))
    renews = state[f"{prefix}renews"]
    return f"{budget}: {used} used, {left} left" + (f", begins anew at {renews}" if renews else "")


def _dollars(amount: float | None) -> str | None:
    return None if amount is None else format_usd(round(amount * 1e9))


def _created(key: Shown) -> str:
    return f"{key['key']}\nThis is the key of '{key['name']}'. It is shown only now: keep it where it will be used."


def _rotated(key: Shown) -> str:
    until = key["old_key_until"]
    old = f"works until {until}" if until else "works no more"
    return (
        f"{key['key']}\nThis is the new key of '{key['name']}'. It is shown only now: keep it where it will be used. "
        f"The one before {old}."
    )


def _revoked(key: Shown) -> str:
    return f"The key '{key['name']}' is revoked: it opens nothing any more, and its name is not given again."


def add_key_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Add ``keys`` and its actions to a parser's commands; returns the parsers of the actions."""
    keys = commands.add_parser(
        "keys",
        help="make, show, change and revoke virtual keys",
        description=_MEANING,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = keys.add_subparsers(metavar="ACTION", required=True)

    def action(
        name: str, work: Callable[..., Any], text: Callable[..., str], help: str, example: str, *, changes: bool = True
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = actions.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=f"example:\n  piapi-gateway keys {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(work=work, text=text, changes=changes)
        sub.add_argument("--json", action="store_true", help="for scripts")
        return sub

    create = action(
        "create", _create, _created, "make a key and show it, this once",
        "create alice --team growth --budget 50/month --models 'gpt-4o*,flux-*' --expires 90d",
    )  # fmt: skip
    listed = action("list", _list, _listed, "list all keys", "list --json", changes=False)
    show = action("show", _show, _card, "show one key and what is used of its budget", "show alice", changes=False)
    change = action(
        "set", _set, _card, "change what a key may do; what is not named stays", "set alice --rpm 60 --budget none"
    )
    rotate = action(
        "rotate", _rotate, _rotated, "make another key under the same name and show it, this once",
        "rotate alice --grace 1h",
    )  # fmt: skip
    revoke = action("revoke", _revoke, _revoked, "make a key open nothing any more, for good", "revoke alice")
    for sub in (create, show, change, rotate, revoke):
        sub.add_argument("name", type=_name, metavar="NAME", help="of the key: letters, digits, dots, dashes, _")
    _add_settings(create)
    _add_settings(change)
    change.epilog = f"{change.epilog}\n\n'none' takes away a team, a budget, a limit or an expiry."
    listed.add_argument("--all", action="store_true", help="revoked ones too")
    rotate.add_argument(
        "--grace", default=GRACE, metavar="TIME", help="the old key works so long; default: %(default)s"
    )
    return [create, listed, show, change, rotate, revoke]


_MEANING = """\
Virtual keys: one for each member of the team, with limits and a budget.
A running gateway obeys at once; without one, the store is changed here.
As soon as there is any key, requests without one are refused (see 'auth')."""

_EXAMPLES = """\
examples:
  piapi-gateway keys create alice --team growth --budget 50/month --rpm 60
  piapi-gateway keys list
  piapi-gateway keys set alice --budget 80/month --models 'gpt-4o*,flux-*'
  piapi-gateway keys rotate alice --grace 24h
  piapi-gateway keys revoke alice

'piapi-gateway keys ACTION --help' tells more of each."""


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """One option for each setting; those that are not given are not in the namespace."""

    def option(name: str, kind: Callable[[str], Any], metavar: str, help: str) -> None:
        parser.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, metavar=metavar, help=help)

    option("team", _text, "TEAM", "shares the budget of this team")
    option("budget", _text, "AMOUNT/PERIOD", "in US dollars: 5/day, 50/month or 200/total")
    option("rpm", _count, "N", "requests a minute")
    option("tpm", _count, "N", "tokens a minute")
    option("parallel", _count, "N", "requests at once")
    option("models", _models, "NAMES", "with commas between; '*' may end one: 'gpt-4o*,flux-*'; default: '*', all")
    option("expires", _text, "WHEN", "90d or 12h from now, or a date such as 2030-01-31")
    option("note", str, "TEXT", "for whoever reads the list")


def _text(given: str) -> str | None:
    return None if given == "none" else given


def _count(given: str) -> int | None:
    if given == "none":
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise argparse.ArgumentTypeError(f"'{given}' is not a whole number")
    return int(given)


def _models(given: str) -> list[str]:
    return [name for part in given.split(",") if (name := part.strip())]


def _name(given: str) -> str:
    if given in ("", ".", "..") or not given.isprintable():
        raise argparse.ArgumentTypeError(f"{given!a} is no name of a key")
    return given
