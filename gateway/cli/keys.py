"""``piapi-gateway keys …``: virtual keys made, shown, changed and revoked.

A running gateway is asked through its admin API, and obeys at once. Without one the store is read and written here.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from gateway.cli.command import KEYS, CommandResult, as_json, complete, report, say_no_more
from gateway.cli.output import tell
from gateway.core.defaults import ROTATION_GRACE
from gateway.core.errors import OperatorError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient, RemoteKeys
    from gateway.config import Config
    from gateway.keys.service import KeyListing, KeyService

KeyFacts = dict[str, Any]
"""A key as the admin API's JSON has it."""

_LIST_COLUMNS = (
    *("name", "team", "state", "models", "budget", "used_usd", "reserved_usd", "held_usd", "left_usd", "model_budgets"),
    *("rpm", "tpm", "parallel"),
)
_NUMBERS = frozenset({"used_usd", "reserved_usd", "held_usd", "left_usd", "rpm", "tpm", "parallel"})


def add_keys_parser(commands: Any) -> None:
    """Add ``keys`` and its actions to a parser's commands."""
    keys = commands.add_parser(
        "keys",
        help="make, show, change and revoke virtual keys",
        description=_MEANING,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = keys.add_subparsers(metavar="ACTION", required=True)

    def add_action(
        name: str,
        action: Callable[..., Any],
        text: Callable[..., str],
        help: str,
        example: str,
        *,
        changes: bool = True,
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = actions.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=f"example:\n  piapi-gateway keys {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(action=action, text=text, changes=changes)
        sub.add_argument("--json", action="store_true", help="for scripts")
        return sub

    create = add_action(
        "create", _create, _created, "make a key and show it, this once",
        "create alice --team growth --budget 50/month --budget 'gpt-4o*=5/day' --alert 80 --expires 90d",
    )  # fmt: skip
    listed = add_action("list", _list, _listed, "list all keys", "list --json", changes=False)
    show = add_action("show", _show, _card, "show one key and what is used of its budget", "show alice", changes=False)
    change = add_action(
        "set", _set, _card, "change what a key may do; what is not named stays", "set alice --rpm 60 --budget none"
    )
    rotate = add_action(
        "rotate", _rotate, _rotated, "make another key under the same name and show it, this once",
        "rotate alice --grace 1h",
    )  # fmt: skip
    revoke = add_action("revoke", _revoke, _revoked, "make a key open nothing any more, for good", "revoke alice")
    for sub in (create, show, change, rotate, revoke):
        sub.add_argument("name", type=_name, metavar="NAME", help="of the key: letters, digits, dots, dashes, _")
    _add_settings(create)
    _add_settings(change)
    change.epilog = (
        f"{change.epilog}\n\n'none' takes away a team, a budget ('gpt-4o*=none'), an alert, a limit or an expiry."
    )
    listed.add_argument("--all", action="store_true", help="revoked ones too")
    rotate.add_argument(
        "--grace", default=ROTATION_GRACE, metavar="TIME", help="the old key works so long; default: %(default)s"
    )
    for sub in (create, listed, show, change, rotate, revoke):
        complete(sub, keys_command)


def keys_command(options: argparse.Namespace) -> int:
    """Do what the action asks, and print the result.

    Raises OperatorError if a key was made that could not be printed: who called must know that it is there.
    """
    options.issued = False
    try:
        return report("keys", _keys, options, KEYS)
    except OSError as error:  # a full disk, a reader that has left
        if not options.issued:
            raise
        say_no_more()
        raise OperatorError(
            f"The key of '{options.name}' was made, but could not be printed: {error.strerror}. It is shown only once; "
            f"make another with: piapi-gateway keys rotate {options.name}"
        ) from None


def _keys(config: Config, options: argparse.Namespace) -> CommandResult:
    from gateway.cli.admin_client import RemoteKeys, gateway_first

    action: Callable[..., Awaitable[Any]] = options.action

    async def asked(client: AdminClient) -> Any:
        return await action(RemoteKeys(client), options)

    async def here() -> Any:
        from gateway.cli.local_store import local_key_listing, local_key_service, refuse_without_store
        from gateway.stores.engines import read_store

        if not options.changes:
            return await action(await local_key_listing(config), options)
        if not await read_store(config.store).exists():
            await refuse_without_store(config, lambda service: action(service, options))
        async with local_key_service(config, _say_made) as service:
            return await action(service, options)

    notes: list[str] = []
    answer = gateway_first(config, asked, here, notes)
    if isinstance(answer, dict):
        options.issued = "key" in answer
        notes += answer.get("warnings", ())
    return CommandResult(as_json(answer) if options.json else options.text(answer), notes=notes)


def _say_made(store: str) -> None:
    """At once, however the rest ends: a store in the wrong place would otherwise be found much later."""
    tell(f"keys: made a new store: {store}")


async def _list(keys: KeyListing | RemoteKeys, options: argparse.Namespace) -> list[KeyFacts]:
    found: list[KeyFacts] = []
    page = await keys.page(include_revoked=options.all)
    found += page["data"]
    while page["has_more"]:
        page = await keys.page(page["last"], include_revoked=options.all)
        found += page["data"]
    return found


async def _show(keys: KeyListing | RemoteKeys, options: argparse.Namespace) -> KeyFacts:
    return await keys.show(options.name)


async def _create(keys: KeyService | RemoteKeys, options: argparse.Namespace) -> KeyFacts:
    return await keys.create({"name": options.name, **_chosen(options)})


async def _set(keys: KeyService | RemoteKeys, options: argparse.Namespace) -> KeyFacts:
    chosen = _chosen(options)
    if not chosen:
        from gateway.core.errors import invalid_request

        raise invalid_request("Say what to set, such as --rpm 60 or --budget none.")
    return await keys.change(options.name, chosen)


async def _rotate(keys: KeyService | RemoteKeys, options: argparse.Namespace) -> KeyFacts:
    return await keys.rotate(options.name, {"grace": options.grace})


async def _revoke(keys: KeyService | RemoteKeys, options: argparse.Namespace) -> KeyFacts:
    return await keys.revoke(options.name)


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, and no others."""
    from gateway.core.errors import invalid_request
    from gateway.keys.fields import SETTINGS

    chosen = {name: getattr(options, name) for name in SETTINGS if hasattr(options, name) and name != "budget"}
    by_model: dict[str, str | None] = {}
    for model, amount in getattr(options, "budget", ()):
        if (model is None and "budget" in chosen) or model in by_model:
            subject = "the key" if model is None else f"'{model}'"
            raise invalid_request(f"There are two budgets for {subject}; give it one.", param="budget")
        if model is None:
            chosen["budget"] = amount
        else:
            by_model[model] = amount
    return {**chosen, "model_budgets": by_model} if by_model else chosen


def _listed(keys: Sequence[KeyFacts]) -> str:
    if not keys:
        return "There are no keys yet. Make one with: piapi-gateway keys create NAME"
    from gateway.cli.tables import render

    rows = [
        {
            **key,
            "models": ", ".join(key["models"]),
            "used_usd": _dollars(key["budget_used_usd"]),
            "reserved_usd": _dollars(key["budget_reserved_usd"]),
            "held_usd": _dollars(key.get("budget_held_usd")),
            "left_usd": _dollars(key["budget_left_usd"]),
            "model_budgets": ", ".join(
                f"{model} {one['budget']}" + ("" if one["left_usd"] is None else f" ({_dollars(one['left_usd'])} left)")
                for model, one in key["model_budgets"].items()
            ),
        }
        for key in keys
    ]
    return render(rows, (*_LIST_COLUMNS, "expires", "source"), right=_NUMBERS)


def _card(key: KeyFacts) -> str:
    """One key, one line a fact; what is not set is left out."""
    from gateway.cli.tables import render

    team = key["team_budget"] or {}
    facts = {
        "key": key["name"],
        "state": f"{key['state']} since {key['revoked']}" if key["revoked"] else key["state"],
        "team": key["team"],
        "models": ", ".join(key["models"]),
        "budget": _budget(key["budget"], key, "budget_"),
        **{f"for {model}": _budget(one["budget"], one, "") for model, one in key["model_budgets"].items()},
        "team budget": _budget(team.get("budget"), team, ""),
        "told at": ", ".join(f"{percent} %" for percent in key["alert"] or ()),
        "requests": None if key["rpm"] is None else f"{key['rpm']} a minute",
        "tokens": None if key["tpm"] is None else f"{key['tpm']} a minute",
        "parallel": None if key["parallel"] is None else f"{key['parallel']} requests at once",
        "expires": key["expires"],
        "note": key["note"],
        "created": key["created"] or "in the configuration file",
        "old key": None if key["old_key_until"] is None else f"works until {key['old_key_until']}",
        "older keys": _older(key["older_keys_until"]) if key.get("older_keys_until") else None,
    }
    rows = [{"fact": fact, "value": value} for fact, value in facts.items() if value]
    return render(rows, ("fact", "value")).partition("\n")[2]


def _budget(budget: str | None, state: KeyFacts, prefix: str) -> str | None:
    if budget is None or state[f"{prefix}used_usd"] is None:
        return budget
    used, reserved, left = (_dollars(state[f"{prefix}{name}_usd"]) for name in ("used", "reserved", "left"))
    held = state.get(f"{prefix}held_usd")
    in_doubt = f" ({_dollars(held)} of it held: outcome unknown, see 'ledger held')" if held else ""
    renews = state[f"{prefix}renews"]
    return f"{budget}: {used} used, {reserved} reserved{in_doubt}, {left} left" + (
        f", begins anew at {renews}" if renews else ""
    )


def _dollars(amount: float | None) -> str | None:
    from gateway.core.pricing.prices import format_usd

    return None if amount is None else format_usd(round(amount * 1e9))


def _created(key: KeyFacts) -> str:
    return f"{key['key']}\nThis is the key of '{key['name']}'. It is shown only now: keep it where it will be used."


def _rotated(key: KeyFacts) -> str:
    until = key["old_key_until"]
    old = f"works until {until}" if until else "works no more"
    older = key.get("older_keys_until", ())
    return (
        f"{key['key']}\nThis is the new key of '{key['name']}'. It is shown only now: keep it where it will be used. "
        f"The one before {old}."
        + (f"\nStill working, as earlier rotations promised: {_older(older)}." if older else "")
    )


def _older(until: Sequence[str]) -> str:
    keys = "one more old key" if len(until) == 1 else f"{len(until)} more old keys"
    return f"{keys}, until {', '.join(until)}"


def _revoked(key: KeyFacts) -> str:
    return f"The key '{key['name']}' is revoked: it opens nothing any more, and its name is not given again."


_MEANING = """\
Virtual keys: one for each member of the team, with limits and a budget.
A running gateway obeys at once; without one, the store is changed here.
The gateways of a PostgreSQL obey within a second, wherever they run.
As soon as there is any key, requests without one are refused (see 'auth')."""

_EXAMPLES = """\
examples:
  piapi-gateway keys create alice --team growth --budget 50/month --rpm 60
  piapi-gateway keys list
  piapi-gateway keys set alice --budget 80/month --models 'gpt-4o*,flux-*'
  piapi-gateway keys set alice --budget 'gpt-4o*=5/day' --budget 'flux-*=none'
  piapi-gateway keys rotate alice --grace 24h
  piapi-gateway keys revoke alice

'piapi-gateway keys ACTION --help' tells more of each."""


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """One option for each setting; those that are not given are not in the namespace."""

    def option(name: str, kind: Callable[[str], Any], metavar: str, help: str) -> None:
        parser.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, metavar=metavar, help=help)

    option("team", _text, "TEAM", "shares the budget of this team")
    parser.add_argument(
        "--budget",
        type=_budget_option,
        action="append",
        default=argparse.SUPPRESS,
        metavar="[MODEL=]AMOUNT/PERIOD",
        help="in US dollars: 5/day, 20/week, 50/month or 200/total; 'gpt-4o*=5/day' is for these models only; "
        "may be given again for others",
    )
    option(
        "alert", _text, "PERCENT", "of a budget, at which it is told and nothing refused: 80 or 50,80; default: 80,100"
    )
    option("rpm", _count, "N", "requests a minute")
    option("tpm", _count, "N", "tokens a minute")
    option("parallel", _count, "N", "requests at once")
    option("models", _models, "NAMES", "with commas between; '*' may end one: 'gpt-4o*,flux-*'; default: '*', all")
    option("expires", _text, "WHEN", "90d or 12h from now, or a date such as 2030-01-31, to the end of that day")
    option("note", str, "TEXT", "for those who read the list")


def _text(given: str) -> str | None:
    return None if given == "none" else given


def _budget_option(given: str) -> tuple[str | None, str | None]:
    """A model's pattern, or None for all models, and the amount."""
    model, equals, amount = given.rpartition("=")
    return (model if equals else None), _text(amount)


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
