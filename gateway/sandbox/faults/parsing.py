"""The syntax of scenarios.

A scenario is written ``name`` or ``name;parameter=value;…``, for example ``stall_head;seconds=2``,
``status;code=429;retry_after=3`` or ``cut;after_events=3;reset=1``. ``seconds=-1`` means for ever.

Every scenario also takes ``role`` (play it only for that role), ``method`` (only for GET or POST), ``path`` (only where
the path begins so), ``times`` (how often a marker or default plays it, 0 for always), ``delay`` (milliseconds between
events), ``bought=1`` (the provider bills the whole answer even if it does not arrive), and everything of
``Options`` (wire/options.py). So ``status;code=524;method=POST;path=/api/v1/task`` loses the creation of tasks,
``reset_before_head;method=GET;path=/api/v1/task;role=api`` what one host says of them, and
``status;code=403;path=/files/;times=2`` an image at first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

from gateway.sandbox.faults.playback import ChosenScenario
from gateway.sandbox.faults.scenarios import SCENARIOS
from gateway.sandbox.wire.answers import ROLES
from gateway.sandbox.wire.options import OPTION_WORDS, Options, Value

_LIMITS: Mapping[str, Value] = {"role": "", "method": "", "path": "", "times": 0}
COMMON: Mapping[str, Value] = {**_LIMITS, "delay": 0.0, "bought": 0, **asdict(Options())}
"""What every scenario takes, with its default."""

_METHODS = ("GET", "POST")


class ScenarioError(ValueError):
    """A scenario that does not exist, or a parameter of it that is wrong. The message is fit to be shown."""


def parse_scenario(text: str) -> ChosenScenario:
    """``name;parameter=value;…`` → the scenario with every parameter filled in. Raises ScenarioError."""
    if not text.isprintable():
        raise ScenarioError("a scenario is written in printable characters")
    name, *settings = (part.strip() for part in text.split(";"))
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise ScenarioError(f"no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    values: dict[str, Value] = {**COMMON, **scenario.values}
    for setting in filter(None, settings):
        parameter, _, value = (part.strip() for part in setting.partition("="))
        if parameter not in values:
            own = ", ".join([*scenario.values, *COMMON])
            raise ScenarioError(f"scenario {name!r} has no parameter {parameter!r}; it has: {own}")
        values[parameter] = _converted(parameter, value, values[parameter])
    words = {"role": ROLES, "method": _METHODS}
    words |= {option: known for option, known in OPTION_WORDS.items() if option not in scenario.values}
    for parameter, known in words.items():
        if values[parameter] not in ("" if parameter in _LIMITS else known[0], *known):
            raise ScenarioError(f"{parameter} must be one of {', '.join(known)}, not {values[parameter]!r}")
    return ChosenScenario(name, MappingProxyType(values))


def _converted(parameter: str, value: str, like: Value) -> Value:
    try:
        return type(like)(value)
    except ValueError:
        raise ScenarioError(f"parameter {parameter!r} must be {type(like).__name__}, not {value!r}") from None
