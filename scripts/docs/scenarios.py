"""docs/scenarios.md: every scenario of the sandbox and every parameter, from its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.sandbox import SCENARIOS, Scenario
from gateway.sandbox.faults.parsing import COMMON
from gateway.sandbox.wire.options import OPTION_WORDS
from scripts.docs.markdown import code, page, table

PARAMETERS: Mapping[str, str] = {
    "role": "Play it for this host only: `api`, `proxy` or `backup`.",
    "method": "Play it for `GET` or `POST` only.",
    "path": "Play it only where the path begins so, such as `/api/v1/task`.",
    "times": "How often a marker or `--scenario` plays it. 0: always.",
    "delay": "Milliseconds between the events of a stream.",
    "bought": "1: the provider bills the whole answer even if it does not arrive.",
    "chunks": "Chat: how many pieces of content. 0: one a word.",
    "chunk_size": "Chat: characters in a piece. 0: words.",
    "text": "Chat: `words`, or `u2028` for a text with Unicode's line separators.",
    "cached": "Prompt tokens that count as cached.",
    "reasoning": "Chat: pieces of `reasoning_content` before the content.",
    "refusal": "Chat: 1 refuses in the `refusal` field.",
    "calls": "Chat: how many tool calls are made, meant or not.",
    "required": "Chat: `1` gives tool calls only the arguments that must be.",
    "variant": "gpt-4o-image: which of its known texts it answers with.",
    "images": "gpt-4o-image: pictures in it.",
    "form": "In which form a picture is handed over.",
    "words": "Images API: `chat` states the usage in chat's words.",
    "whole": "Images API: 1 answers a stream with one body.",
    "usage": "Images API and relayed routes: 0 leaves the usage out.",
    "link": "Images API: 1 answers links instead of base64.",
    "polls": "Tasks: how often one is asked for before it is done.",
    "ready": "Tasks: above 0, one is done after so many seconds instead.",
    "task": "Tasks: how one ends.",
    "vocabulary": "Tasks: the words of its statuses.",
    "shape": "Tasks: where its pictures stand.",
    "consume": "Tasks: the points it says it took. 0: it does not say. -1: the true ones.",
    "concurrency": "Tasks a key may have running, as the account says.",
    "enforce_concurrency": "1: one more is refused.",
    "site": "The base URL of links to pictures. Empty: the sandbox itself.",
    "picture": "PiAPI's asynchronous pictures: how the task answers.",
    "written": "Chat: prompt tokens that count as written to the cache.",
    "heard": "Chat: prompt tokens of sound.",
    "spoken": "Chat: completion tokens of sound.",
    "searches": "Chat: searches that the provider made.",
    "vendor": "Chat: in whose words the usage is.",
    "beside": "Chat: 1 counts reasoning in the total only, as xAI and Google do.",
    "tier": "Chat: the service tier that served; `none` names none. Empty: the one asked for.",
    "named": "Chat: the model that answers. Empty: the one asked for.",
    "any_fields": "Chat: 1 lets the backup take fields and tools that OpenAI does not know, as OpenRouter does.",
}

_INTRODUCTION = """\
What the [sandbox](sandbox.md) can play. A scenario is written `name` or `name;parameter=value;…`, such as
`status;code=429;retry_after=3` or `cut;after_events=3;reset=1`. Where seconds can be given, -1 means for ever.
`piapi-gateway sandbox --list` prints the same names; [choosing a scenario](sandbox.md#choosing-a-scenario) says how a
request comes to meet one, and [outcomes](outcomes.md) what the gateway makes of it."""


class Mismatch(Exception):
    """A parameter in the code that is not described here, or the other way round; the message names it."""


def scenarios_page() -> str:
    """The whole page."""
    if different := COMMON.keys() ^ PARAMETERS.keys():
        raise Mismatch(f"the code and scripts/docs/scenarios.py differ in {', '.join(sorted(different))}")
    any_answer = [one for one in SCENARIOS.values() if not one.stream_only]
    streams = [one for one in SCENARIOS.values() if one.stream_only]
    return page(
        "Scenarios",
        _INTRODUCTION,
        "## For any answer",
        _scenarios(any_answer),
        "## For streams",
        "An answer that is not streamed is honest here.",
        _scenarios(streams),
        "## Parameters of all of them",
        table(
            ("parameter", "default", "meaning"),
            ((code(name), _value(value), _meaning(name)) for name, value in COMMON.items()),
        ),
    )


def _scenarios(each: Iterable[Scenario]) -> str:
    rows = ((code(one.name), f"{one.summary[0].upper()}{one.summary[1:]}.", _own(one)) for one in each)
    return table(("scenario", "what it plays", "its parameters, with their defaults"), rows)


def _own(scenario: Scenario) -> str:
    return ", ".join(code(f"{name}={value}") for name, value in scenario.values.items())


def _value(value: object) -> str:
    return code(str(value)) if value != "" else ""


def _meaning(name: str) -> str:
    known = OPTION_WORDS.get(name)
    return PARAMETERS[name] + (f" One of {', '.join(map(code, known))}." if known else "")
