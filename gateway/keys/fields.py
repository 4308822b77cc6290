"""A virtual key as JSON has it: what may be set, checked; and what is shown, which is everything but the key itself.

    {"name", "source": "store" | "file", "state": "active" | "expired" | "revoked", "team", "models", "rpm", "tpm",
     "parallel", "budget": "50/month", "budget_used_usd", "budget_reserved_usd", "budget_held_usd", "budget_left_usd",
     "budget_renews",
     "model_budgets": {"gpt-4o*": {"budget", "used_usd", "reserved_usd", "held_usd", "left_usd", "renews"}},
     "team_budget": {"budget", "used_usd", "reserved_usd", "held_usd", "left_usd", "renews"},
     "alert": [50, 80], "expires", "note", "created", "revoked", "old_key_until", "older_keys_until": […]}

``reserved_usd`` is what requests that have not ended may still cost, ``held_usd`` the part of it that is held for those
whose outcome is unknown. Moments are RFC 3339 in UTC; what is not set, or not known, is null.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.pricing.calendar import day_as_written, iso_time
from gateway.core.types import Budget, VirtualKey
from gateway.keys.budget_fields import (
    NO_MODEL_BUDGETS,
    Spending,
    merged,
    read_alert,
    read_budget,
    read_model_budgets,
    show_budgets,
    with_models_split,
)
from gateway.stores.key_records import KeySettings, StoredKey
from gateway.wire.field_checks import a_string, an_integer, each, wrong_value

MOST = 10**15
"""The highest limit taken: far above any real one, and kept exact by every reader of JSON."""

MOST_MODELS = 1_000

_NANO = 1_000_000_000
_LATEST_NS = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = "expected a time from now, such as 90d or 12h, or a date, such as 2030-01-31 (to its end) or 2030-01-31T08:00"

_a_limit = an_integer(1, MOST)
_strings = each(a_string)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What the configuration in force says about keys.

    ``teams``: those it names; a key may be of another only while it names none. ``zone``: of dates without one.
    ``budget``: ``50/month`` → Budget; ``duration``: ``90d`` → seconds; both raise ValueError with words.
    ``doubt``: says of a pattern of models that it matches none that is known, and what may be meant; empty if it does.
    """

    file_keys: tuple[VirtualKey, ...]
    teams: Collection[str]
    zone: tzinfo
    budget: Callable[[object], Budget]
    duration: Callable[[object], float]
    doubt: Callable[[str], str] = lambda _: ""


def read_settings(fields: Mapping[str, Any], rules: KeyRules, now_ns: int) -> dict[str, Any]:
    """What a client wants set → what ``merged`` puts into KeySettings. A field that is null goes back to what it is by
    default.

    Raises ClientError 400 with ``param`` for an unknown field, and for a value that makes no sense.
    """
    refuse_unknown(fields, _READERS)
    fields, anew = with_models_split(fields)
    found: dict[str, Any] = {}
    for name, value in fields.items():
        argument, default, read = _READERS[name]
        found[argument] = default if value is None else read(value, rules, now_ns)
    if anew:
        found["model_budgets"] = replace(found["model_budgets"], anew=True)
    try:
        merged(KeySettings(), found)
    except ValueError as error:
        raise as_refusal(error) from None
    return found


def doubts(fields: Mapping[str, Any], rules: KeyRules) -> list[str]:
    """A sentence for each pattern among the settings, read before, that matches no model known here."""
    fields, _ = with_models_split(fields)
    patterns = [*(fields.get("models") or ()), *(fields.get("model_budgets") or ())]
    return [doubt for pattern in dict.fromkeys(patterns) if (doubt := rules.doubt(pattern))]


def refuse_unknown(fields: Iterable[str], known: Collection[str]) -> None:
    """Raises ClientError 400 ``unknown_parameter`` for the first name that is not known."""
    for name in fields:
        if name not in known:
            shown = shorten(name)
            raise invalid_request(
                f"Unknown parameter: '{shown}'. Known are {', '.join(known)}.", param=shown, code="unknown_parameter"
            )


def as_refusal(error: ValueError) -> ClientError:
    """A ValueError whose message is ``field: rule`` → 400 with ``param``."""
    name, _, rule = str(error).partition(": ")
    return wrong_value(name, rule)


def read_grace(value: object, rules: KeyRules) -> int:
    """How long the key before a rotation still works → nanoseconds. Raises ClientError 400."""
    a_string(value, "grace")
    try:
        return _whole_ns(rules.duration(value))
    except ValueError as error:
        raise wrong_value("grace", str(error)) from None


def _team(value: Any, rules: KeyRules, _: int) -> str:
    a_string(value, "team")
    if rules.teams and value not in rules.teams:
        # As in the configuration file: where teams are named, another name is more likely a slip than a team.
        raise wrong_value("team", f"the configuration names no such team, only {', '.join(sorted(rules.teams))}")
    return str(value)


def _models(value: Any, _: KeyRules, __: int) -> tuple[str, ...]:
    _strings(value, "models")
    if len(value) > MOST_MODELS:
        raise wrong_value("models", f"at most {MOST_MODELS} are taken")
    return tuple(value)


def _limit(name: str) -> Callable[[Any, KeyRules, int], int]:
    def read(value: Any, _: KeyRules, __: int) -> int:
        _a_limit(value, name)
        return int(value)

    return read


def _expires(value: Any, rules: KeyRules, now_ns: int) -> int:
    a_string(value, "expires")
    try:
        moment = now_ns + _whole_ns(rules.duration(value))
    except ValueError:
        moment = _date(value, rules.zone)
    if not now_ns < moment <= _LATEST_NS:
        raise wrong_value("expires", "the moment must lie ahead, and before the year 2262")
    return moment


def _whole_ns(seconds: float) -> int:
    """Seconds → nanoseconds, to the millisecond, as finer ones cannot be written."""
    return round(seconds * 1000) * 1_000_000


def _date(text: str, zone: tzinfo) -> int:
    """The end of a day, or a moment."""
    try:
        day = day_as_written(text, zone)
        if day is not None and day.end_ns is not None:
            return day.end_ns
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        since = moment.astimezone(UTC) - _EPOCH
    except (ValueError, OverflowError):
        raise wrong_value("expires", _MOMENT) from None
    return (since.days * 86400 + since.seconds) * _NANO


def _note(value: Any, _: KeyRules, __: int) -> str:
    a_string(value, "note")
    return str(value)


_READERS: dict[str, tuple[str, Any, Callable[[Any, KeyRules, int], Any]]] = {
    "team": ("team", None, _team),
    "models": ("models", ("*",), _models),
    "budget": ("budget", None, lambda value, rules, _: read_budget(value, rules.budget)),
    "model_budgets": (
        "model_budgets",
        NO_MODEL_BUDGETS,
        lambda value, rules, _: read_model_budgets(value, rules.budget),
    ),
    "alert": ("alert", (), lambda value, _, __: read_alert(value)),
    "rpm": ("rpm", None, _limit("rpm")),
    "tpm": ("tpm", None, _limit("tpm")),
    "parallel": ("parallel", None, _limit("parallel")),
    "expires": ("expires_at_ns", None, _expires),
    "note": ("note", "", _note),
}
"""Field → argument of KeySettings (for ``model_budgets`` a change of it), its default, and what reads it."""

SETTINGS = tuple(_READERS)


def show_file_key(key: VirtualKey, spending: Spending) -> dict[str, Any]:
    """A key of the configuration file."""
    return {
        **_described(key, "file", "active", spending),
        "expires": None,
        "note": "",
        "created": None,
        "revoked": None,
        "old_key_until": None,
        "older_keys_until": [],
    }


def show_stored_key(key: StoredKey, spending: Spending, now_ns: int) -> dict[str, Any]:
    """A key of the store."""
    state = "revoked" if key.revoked_at_ns is not None else "active" if key.active(now_ns) else "expired"
    old = key.old(now_ns) if state == "active" else ()
    last = key.old_until_ns if old and old[0][0] == key.old_digest else None
    return {
        **_described(key.virtual_key(), "store", state, spending),
        "expires": _moment(key.settings.expires_at_ns),
        "note": key.settings.note,
        "created": _moment(key.created_at_ns),
        "revoked": _moment(key.revoked_at_ns),
        "old_key_until": _moment(last),
        "older_keys_until": [_moment(until_ns) for _, until_ns in (old if last is None else old[1:])],
    }


def _described(key: VirtualKey, source: str, state: str, spending: Spending) -> dict[str, Any]:
    return {
        "name": key.name,
        "source": source,
        "state": state,
        "team": key.team,
        "models": list(key.models),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "parallel": key.parallel,
        **show_budgets(key, spending),
    }


def _moment(wall_ns: int | None) -> str | None:
    return None if wall_ns is None else iso_time(wall_ns, UTC)
