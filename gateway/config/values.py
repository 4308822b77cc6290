"""The parsers of single values in the file: durations, sizes, money, budgets, names, keys.

Each function takes a value of the file and returns the one the gateway works with, or raises ValueError saying what a
valid value is. The message never quotes the value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, tzinfo
from decimal import Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

from gateway.config.environment import Substituted
from gateway.config.odd_values import odd_key
from gateway.core.types import FACTOR_UNIT, NANO_PER_USD, Budget

MAX_USD = 1_000_000_000
"""US dollars: the highest amount accepted. In nano-dollars, sums of it fit into 64 bits."""

SHORTEST_ADMIN_KEY = 16
"""Characters. Guesses are slowed down, not stopped, since the right key must always pass."""

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_SECONDS = 3650 * 86400.0
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)")
_BYTES: dict[str, int] = {unit + "B": 1000**power for power, unit in enumerate(("", "K", "M", "G", "T"))}
_BYTES |= {unit + "iB": 1024**power for power, unit in enumerate(("K", "M", "G", "T"), start=1)}
_BUDGET = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)/(day|week|month|total)")
_NUMBER = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]{0,512}")


def text(value: object) -> str:
    """Printable text, perhaps empty."""
    if not isinstance(value, str):
        raise ValueError("expected text; put it in quotes" if _is_scalar(value) else "expected text")
    if not value.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return str(value)


def filled_text(value: object) -> str:
    """Printable text, not empty."""
    result = text(value)
    if not result.strip():
        raise ValueError("must not be empty")
    return result


def boolean(value: object) -> bool:
    """True or false."""
    if isinstance(value, Substituted) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def whole_number(lowest: int, highest: int | None = None) -> Callable[[object], int]:
    """A parser of whole numbers in a range, both ends included."""
    expected = f"expected a whole number {f'from {lowest} up' if highest is None else f'from {lowest} to {highest}'}"

    def parse(value: object) -> int:
        from_environment = isinstance(value, Substituted) and re.fullmatch(r"[0-9]{1,18}", value) is not None
        number = int(str(value)) if from_environment else value
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(expected)
        if not lowest <= number <= (10**18 if highest is None else highest):
            raise ValueError(expected)
        return int(number)

    return parse


def share(value: object) -> float:
    """A part of a whole, from 0 to 1."""
    number = _decimal(value)
    if number is None or not 0 <= number <= 1:
        raise ValueError("expected a number from 0 to 1")
    return float(number)


def factor(value: object) -> int:
    """How many times a price applies → thousandths: 2.5 → 2500."""
    number = _decimal(value)
    thousandths = None if number is None else number * FACTOR_UNIT
    if thousandths is None or not 0 < thousandths <= 1000 * FACTOR_UNIT or thousandths % 1:
        raise ValueError("expected how many times the price applies, such as 0.5 or 2, with at most 3 decimals")
    return int(thousandths)


def money(value: object) -> int:
    """US dollars → nano-dollars. The file's own digits are converted, never a binary float."""
    number = _decimal(value)
    if number is None:
        raise ValueError("expected an amount in US dollars, such as 1.875")
    return nano_dollars(number)


def nano_dollars(amount: Decimal) -> int:
    """An exact conversion. Raises ValueError for an amount that is negative, too large, or finer than a nano-dollar."""
    if not 0 <= amount <= MAX_USD:
        raise ValueError(f"expected an amount from 0 to {MAX_USD} US dollars")
    with localcontext(prec=100):
        nano = amount * NANO_PER_USD
        whole = nano.to_integral_value()
    if nano != whole:
        raise ValueError("expected at most 9 digits after the decimal point")
    return int(whole)


def budget(value: object) -> Budget:
    """``50/month`` → Budget. Periods are day, week, month and total."""
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected AMOUNT/day, /week, /month or /total in US dollars, such as 50/month")
    period: Any = match[2]
    return Budget(nano_dollars(Decimal(match[1])), period)


def duration(value: object) -> float:
    """``500ms``, ``30s``, ``2m``, ``1h``, ``30d`` → seconds. A bare 0 needs no unit."""
    if (value == 0 and _is_scalar(value) and not isinstance(value, bool)) or value == "0":
        return 0.0
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, int) and not isinstance(value, bool):
            raise ValueError("expected a duration with its unit, such as 30s (units: ms, s, m, h, d)")
        raise ValueError("expected a duration such as 500ms, 30s, 2m, 1h or 30d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _MAX_SECONDS:
        raise ValueError("expected a duration of at most 3650d")
    return seconds


def positive_duration(value: object) -> float:
    """A duration above zero, in seconds."""
    seconds = duration(value)
    if seconds <= 0:
        raise ValueError("expected a duration above 0, such as 30s")
    return seconds


def size(value: object) -> int:
    """``64KiB``, ``20MiB``, ``1GiB`` → bytes, above zero. KB, MB and GB count in thousands."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a size above 0 with its unit, such as 64KiB, 20MiB or 1GiB")
    return int(match[1]) * _BYTES[match[2]]


def name(value: object) -> str:
    """A name that is shown in logs, metrics and paths."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("expected a name of 1 to 64 letters, digits, dots, dashes or underscores")
    return str(value)


def secret(value: object) -> str:
    """A key or password that an HTTP header can carry, or empty. Blanks around it are removed."""
    if _is_scalar(value):
        raise ValueError("expected text; put it in quotes")
    stripped = str(value).strip() if isinstance(value, str) else None
    if stripped and (odd := odd_key(stripped)):
        raise ValueError(odd)
    if stripped is None or not _KEY.fullmatch(stripped):
        raise ValueError("expected a key: visible ASCII characters without blanks, at most 512")
    return stripped


def admin_key(value: object) -> str:
    """The key of the admin listener, or empty: long enough that it cannot be guessed."""
    key = secret(value)
    if 0 < len(key) < SHORTEST_ADMIN_KEY:
        raise ValueError(
            f"expected at least {SHORTEST_ADMIN_KEY} characters, as a shorter key can be guessed; "
            "`openssl rand -hex 32` makes a good one"
        )
    return key


def model_pattern(value: object) -> str:
    """A model's name; ``*`` may end it and then stands for any ending."""
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 256 or " " in value:
        raise ValueError("expected a model's name: text without blanks, at most 256 characters")
    if "*" in value[:-1]:
        raise ValueError("'*' may only end a model's name, such as gpt-4o*")
    return str(value)


def optional_model(value: object) -> str:
    """A model's name without ``*``, or empty text."""
    if value == "":
        return ""
    if "*" in (name := model_pattern(value)):
        raise ValueError("expected one model's name, so without a '*'")
    return name


def time_zone(value: object) -> tzinfo:
    """An IANA name → the zone. UTC needs no time zone database."""
    if isinstance(value, str) and value.upper() == "UTC":
        return UTC
    try:
        if not isinstance(value, str):
            raise ValueError
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected a time zone of the IANA database, such as UTC or Europe/Berlin") from None


def number(value: object) -> int | float:
    """Any number."""
    found = _decimal(value)
    if found is None:
        raise ValueError("expected a number")
    return int(found) if found == found.to_integral_value() else float(found)


def positive_number(value: object) -> float:
    """A number above zero, also as the text of a mapping's key."""
    found = Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else _decimal(value)
    if found is None or found <= 0:
        raise ValueError("expected a number above 0")
    return float(found)


def field_default(value: object) -> str | int | float | bool:
    """What a field of a task may hold."""
    if isinstance(value, bool):
        return value
    return number(value) if _is_scalar(value) else text(value)


def day(value: object) -> date:
    """``2027-01-14`` → the day."""
    try:
        if not isinstance(value, str) or len(value) != len("2027-01-14"):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("expected a day, such as 2027-01-14") from None


_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def field_name(value: object) -> str:
    """The name of a field of a request."""
    if not isinstance(value, str) or not _FIELD.fullmatch(value):
        raise ValueError("expected the name of a field, such as max_completion_tokens")
    return str(value)


def field_names(value: object) -> str | tuple[str, ...]:
    """The name of a field, or a list of them."""
    return tuple(map(field_name, value)) if isinstance(value, list) else field_name(value)


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, Substituted) and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value)


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | Decimal | bool)
