"""docs/compatibility.md: which clients were driven against the gateway and what came of it, from the kept results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from scripts.docs.compatibility_notes import ELSEWHERE, SETTINGS
from scripts.docs.markdown import page, table
from tests.compatibility.kept_results import Result, read_results
from tests.compatibility.table import read_clients
from tests.compatibility.trials import TEXTS, TRIALS

APIS: Mapping[str, str] = {"chat": "chats", "responses": "Responses", "messages": "Messages"}
PICTURES = ("images/picture", "images/edit", "image_generation/drawn")
SIGNS: Mapping[str, str] = {"passed": "✓", "failed": "✗", "not applicable": "–"}

_INTRODUCTION = """\
Which clients were really driven against the gateway, on the sandbox, and what came of it. Each has an environment
of its own; `make compatibility` installs what is missing and makes every call again, as `.ci/run` does, and `make
compatibility-results` writes this page. A call passes if the client showed what it should, the upstream was asked
for that and no more, and the ledger has a row with a price for each request."""

_COLUMNS = """\
The columns: a **chat** and a **stream**; a **tool call** and its answer; a **failover in mid-work**, for which the
first host fails between a tool's call and its answer, and which the client must not notice; a **broken stream**,
which the client must show as an error or ask for again, and never take for the whole; a **wrong key** and a
**budget used up**, whose sentence must reach the reader. `✓` passed, `✗` failed by a fault of the client's own, `–`
is not for this client: the notes say why."""


class Unsettled(Exception):
    """A client in the results of which nothing says how it is led to the gateway, or the other way round."""


class Line(NamedTuple):
    """A line of a table: a client's version and one of its APIs."""

    client: str
    version: str
    api: str


def compatibility_page(results: Sequence[Result] | None = None) -> str:
    """The whole page. Raises Unsettled."""
    results = in_order(read_results() if results is None else results)
    driven = [result for result in results if is_trial(result["call"])]
    others = [result for result in results if not is_trial(result["call"])]
    parts = [
        _INTRODUCTION,
        "## SDKs and tools",
        _COLUMNS,
        texts_table(driven),
        "## Pictures",
        "By the Images API, made and changed, and by the tool `image_generation` of a response.",
        pictures_table(driven),
        *notes(driven),
    ]
    if others:
        parts += ["## The SDKs' own test suites, run against the gateway", others_table(others)]
    parts += ["## What else is driven", table(("what", "how", "where"), ELSEWHERE)]
    return page("Compatibility", *parts, "## How each is led here", *settings(driven))


def is_trial(call: str) -> bool:
    """Whether a call is one of those that every client makes."""
    return call.partition("/")[2] in TRIALS


def in_order(results: Iterable[Result]) -> list[Result]:
    """As the table of clients has them; what it does not name comes behind."""
    places = {(client.name, client.version): place for place, client in enumerate(read_clients())}
    return sorted(results, key=lambda result: places.get((result["client"], result["version"]), len(places)))


def texts_table(results: Iterable[Result]) -> str:
    found: dict[Line, dict[str, str]] = {}
    dates: dict[Line, str] = {}
    for result in results:
        api, _, name = result["call"].partition("/")
        if api in APIS:
            line = Line(result["client"], result["version"], APIS[api])
            found.setdefault(line, {})[name] = SIGNS[result["result"]]
            dates[line] = result["date"]
    head = ("client", "version", "by", "run on", *(TRIALS[name].title for name in TEXTS))
    return table(
        head, ((*line, dates[line], *(signs.get(name, "") for name in TEXTS)) for line, signs in found.items())
    )


def pictures_table(results: Iterable[Result]) -> str:
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for result in results:
        if result["call"] in PICTURES:
            line = (result["client"], result["version"], result["date"])
            found.setdefault(line, {})[result["call"]] = SIGNS[result["result"]]
    head = ("client", "version", "run on", "picture", "edit", "`image_generation`")
    return table(head, ((*line, *(signs.get(call, "") for call in PICTURES)) for line, signs in found.items()))


def notes(results: Iterable[Result]) -> Iterator[str]:
    """What is to be said of calls that did not pass."""
    told = {}
    for result in results:
        if result["result"] != "passed":
            api, _, name = result["call"].partition("/")
            told[f"- {result['client']}, {TRIALS[name].title} ({APIS.get(api, api)}): {result['note']}."] = None
    if told:
        yield "Notes:\n\n" + "\n".join(told)


def others_table(results: Iterable[Result]) -> str:
    head = ("tests", "version", "run on", "of", "result", "")
    keys = ("client", "version", "date", "call", "result", "note")
    return table(head, ([str(result[key]) for key in keys] for result in results))


def settings(results: Iterable[Result]) -> Iterator[str]:
    """A part a client. Raises Unsettled."""
    names = dict.fromkeys(result["client"] for result in results)
    if different := names.keys() ^ SETTINGS.keys():
        raise Unsettled(f"the results and scripts/docs/compatibility_notes.py differ in {', '.join(sorted(different))}")
    for name in names:
        yield f"### {name}"
        yield SETTINGS[name]
