"""The selection of the scenario that a request meets.

The first of these that applies decides:

1. the request header ``x-sandbox-scenario``;
2. a script queued by a test, the oldest that matches;
3. the API key: one that contains ``sandbox-invalid`` gets 401, ``sandbox-broke`` 402, ``sandbox-forbidden`` 403,
   ``sandbox-limited`` 429, ``sandbox-flaky`` 500 (what is free minds only the first);
4. a marker in a user's message or an image's prompt, ``[[sandbox: NAME;parameter=value]]`` (for users who cannot
   reach the header);
5. the sandbox's default, which may be ``random_faults``.

A script, a marker or a default with ``role=…``, ``method=…`` or ``path=…`` (how the path begins) holds only there, a
marker or a default with ``times=…`` only so often. The list of models, for which a gateway asks of its own accord, is
met only by a script or default that names its path, and by scenarios of its own (``model_list…``), which meet
nothing else.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.sandbox.chat.messages import SCENARIO_MARKER, message_text
from gateway.sandbox.faults.model_lists import MODEL_LISTS
from gateway.sandbox.faults.parsing import parse_scenario
from gateway.sandbox.faults.playback import ChosenScenario
from gateway.sandbox.faults.scenarios import SCENARIOS
from gateway.sandbox.wire.answers import Role
from gateway.sandbox.wire.requests import MODELS_PATH, RecordedRequest

SCENARIO_HEADER = b"x-sandbox-scenario"
FREE_PATHS = ("/account/info", MODELS_PATH)
HONEST = parse_scenario("ok")

SPECIAL_KEYS = {
    "sandbox-invalid": parse_scenario("key_invalid"),
    "sandbox-broke": parse_scenario("key_unfunded"),
    "sandbox-forbidden": parse_scenario("key_forbidden"),
    "sandbox-limited": parse_scenario("rate_limited"),
    "sandbox-flaky": parse_scenario("server_error"),
}

RANDOM_FAULTS = tuple(
    parse_scenario(text)
    for text in (
        "server_error",
        "overloaded;retry_after=0",
        "bad_gateway",
        "cf_origin_down",
        "cloudflare",
        "cf_524",
        "html_200",
        "bad_json",
        "soft_error;code=500",
        "reset_before_head",
        "sse_error_first",
        "sse_error_late",
        "delta_error",
        "sse_empty",
        "sse_only_done",
        "cut_early",
        "cut;after_events=3",
        "rst;after_events=4",
        "cut_bytes;at=700",
        "truncated_chunk",
        "clean_eof",
        "bad_event",
        "no_done",
        "no_usage",
        "usage_mixed",
        "odd_done",
        "bytewise",
        "crlf",
        "multi_data",
        "comments",
        "drip;interval=1;count=3",
        "silent_close",
    )
)
"""What ``random_faults`` draws from: nothing that cools a key or outlasts a timer, so that a crowd can be served."""

_REMEMBERED = 1000


@dataclass(slots=True)
class ScriptedScenario:
    """A scenario that a test has queued for requests. None matches everything; ``key`` matches a part of the API key.

    ``times``: how many requests it still meets, None for all. ``used``: how many it has met.
    """

    scenario: ChosenScenario
    role: Role | None = None
    path: str | None = None
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    times: int | None = 1
    used: int = 0

    def matches(self, request: RecordedRequest) -> bool:
        return (
            (self.times is None or self.times > 0)
            and self.role in (None, request.role)
            and self.path in (None, request.path)
            and self.model in (None, request.model)
            and (self.key is None or self.key in (request.key or ""))
            and _applies(self.scenario, request, named=self.path is not None)
        )

    def use(self) -> ChosenScenario:
        self.used += 1
        if self.times is not None:
            self.times -= 1
        return self.scenario

    def cancel(self) -> None:
        self.times = 0


class ScenarioSelector:
    """The chooser of scenarios. It remembers the scripts, and how often markers and defaults with ``times`` were met.

    ``seed``: of random faults (0: the default scenario's own).
    """

    def __init__(self, default: ChosenScenario, seed: int) -> None:
        self.default = default
        self._scripts: list[ScriptedScenario] = []
        self._random = random.Random(seed or int(default.values.get("seed", 0)))  # noqa: S311  a repeatable sequence
        self._met: OrderedDict[str, int] = OrderedDict()

    def add(self, script: ScriptedScenario) -> None:
        self._scripts = [old for old in self._scripts if old.times != 0]
        self._scripts.append(script)

    def clear(self) -> None:
        self._scripts.clear()

    def reseed(self, seed: int) -> None:
        self._random.seed(seed)

    def early(self, request: RecordedRequest) -> ChosenScenario | None:
        """A scenario that answers before the body has come, or None. Raises ScenarioError."""
        if (text := request.get(SCENARIO_HEADER)) is not None:
            scenario = parse_scenario(text.decode("latin-1"))
            return scenario if SCENARIOS[scenario.name].early else None
        for script in self._scripts:
            if SCENARIOS[script.scenario.name].early and script.matches(request):
                return script.use()
        early = SCENARIOS[self.default.name].early and self._holds(self.default, "", request)
        return self.default if early else None

    def choose(self, request: RecordedRequest) -> ChosenScenario:
        """The scenario for a whole request. Raises ScenarioError for a header or marker that is wrong."""
        if (text := request.get(SCENARIO_HEADER)) is not None:
            return self._resolved(parse_scenario(text.decode("latin-1")))
        for script in self._scripts:
            if script.matches(request):
                return self._resolved(script.use())
        for part, scenario in SPECIAL_KEYS.items():
            if part in (request.key or "") and (request.path not in FREE_PATHS or scenario.name == "key_invalid"):
                return scenario
        for marker in _markers(request):
            scenario = parse_scenario(marker)
            if self._holds(scenario, marker, request):
                return self._resolved(scenario)
        return self._resolved(self.default) if self._holds(self.default, "", request) else HONEST

    def _holds(self, scenario: ChosenScenario, name: str, request: RecordedRequest) -> bool:
        """Whether a marker or default is meant for this request and not used up; ``name`` tells markers apart."""
        if not _applies(scenario, request):
            return False
        times = int(scenario.values["times"])
        if times:
            met = self._met[name] = self._met.get(name, 0) + 1
            self._met.move_to_end(name)
            while len(self._met) > _REMEMBERED:
                self._met.popitem(last=False)
            return met <= times
        return True

    def _resolved(self, scenario: ChosenScenario) -> ChosenScenario:
        if scenario.name != "random_faults":
            return scenario
        return self._random.choice(RANDOM_FAULTS) if self._random.random() < float(scenario.values["share"]) else HONEST


def _applies(scenario: ChosenScenario, request: RecordedRequest, *, named: bool = False) -> bool:
    """Whether a scenario's own role, method and path let it play on this request. ``named``: a script names its path.

    A scenario for lists plays on the list of models only; another one plays there, and on the questions by which a
    gateway looks at its keys, only if the path is named.
    """
    limits = scenario.values
    listing = (request.method, request.path) == ("GET", MODELS_PATH)
    unasked = listing or request.is_key_check
    meant = listing if scenario.name in MODEL_LISTS else not unasked or named or bool(limits["path"])
    return (
        meant
        and limits["role"] in ("", request.role)
        and limits["method"] in ("", request.method)
        and request.path.startswith(str(limits["path"]))
    )


def _markers(request: RecordedRequest) -> Iterator[str]:
    if b"[[sandbox:" not in request.body:
        return
    for text in _user_texts(request):
        for match in SCENARIO_MARKER.finditer(text):
            yield match[1]


def _user_texts(request: RecordedRequest) -> Iterator[str]:
    """The texts a user wrote: messages, or an image's prompt in a form, in JSON or in a task's input."""
    if request.form is not None:
        yield request.form.get("prompt") or ""
    content = request.json
    if not isinstance(content, dict):
        return
    messages = content.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            yield message_text(message)
    for place in (content, content.get("input")):
        if isinstance(place, dict) and isinstance(place.get("prompt"), str):
            yield place["prompt"]
