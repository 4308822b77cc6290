"""What is tried of every client, and what must come of it: at the client, at the upstream and in the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.compatibility.table import Client

GOOD_KEY = "gw-compat-0123456789abcdef0123"
WRONG_KEY = "gw-wrong-0123456789abcdef0123"
POOR_KEY = "gw-poor-0123456789abcdef012345"

LIGHTHOUSE = "Tell me of the lighthouse."
WEATHER = "What is the weather in Rome?"
PAINT = "image_generation: a lighthouse at night"

TOLD = "21 degrees in Rome"


@dataclass(frozen=True)
class Row:
    """A settled row of the ledger. ``outcomes``: of its attempts, in their order."""

    route: str
    key: str
    state: str
    charged: int
    outcomes: Sequence[str]


@dataclass(frozen=True)
class Seen:
    """What there is to judge of one call: the driver's report, what the upstream was asked for, the ledger's rows."""

    report: Mapping[str, Any]
    asked: Sequence[str]
    rows: Sequence[Row]

    @property
    def text(self) -> str:
        """What the client's user read."""
        return str(self.report["seen"].get("text") or "")


@dataclass(frozen=True)
class Trial:
    """One call of a client.

    ``title``: how the page calls it. ``does``: the driver's function. ``scripts``: what the upstream plays, in order.
    ``asked``, ``rows``: how many requests the upstream gets and how many rows the ledger.
    """

    title: str
    does: str
    prompt: str = LIGHTHOUSE
    key: str = GOOD_KEY
    scripts: Sequence[str] = field(default=())
    asked: int = 1
    rows: int = 1

    def fitted(self, name: str, client: Client) -> Trial:
        """This trial as it is for a client. ``name``: of the trial."""
        prompt = client.prompts.get(name, self.prompt)
        if not (client.one_step and self.does == "tools"):
            scripts = [client.plays if script == "ok" else script for script in self.scripts]
            return replace(self, prompt=prompt, scripts=scripts)
        return replace(self, prompt=prompt, scripts=self.scripts[1:], asked=self.asked - 1, rows=self.rows - 1)

    def faults(self, seen: Seen, client: Client, call: str) -> list[str]:
        """What is wrong with a call; nothing if it passed."""
        found = _faults_in_the_books(seen)
        more = call in client.chatty or (client.retries and self.title == BROKEN)
        for what, told, wanted in (
            ("requests upstream", len(seen.asked), self.asked),
            ("rows", len(seen.rows), self.rows),
        ):
            if told != wanted and not (more and told > wanted > 0):
                found.append(f"{told} {what} in place of {wanted}")
        return found + self._faults_at_the_client(seen, client)

    def _faults_at_the_client(self, seen: Seen, client: Client) -> list[str]:
        told = seen.report["seen"]
        if self.key != GOOD_KEY or (self.title == BROKEN and not client.retries):
            return self._faults_of_an_error(seen)
        if not seen.report["ok"]:
            return [f"{told.get('error', 'an error')}: {seen.text}"]
        if self.does in PICTURES:
            sizes = told.get("pictures")
            return [] if sizes and min(sizes) > 1000 else [f"pictures of {sizes} bytes"]
        found = []
        said = self.prompt if client.structured else "You said: " + self.prompt
        wanted = TOLD if self.does == "tools" else said
        if wanted not in seen.text:
            found.append(f"{wanted!r} is not in {seen.text[:500]!r}")
        if self.does == "stream" and told.get("pieces", 2) < 2:
            found.append(f"{told['pieces']} pieces")
        if self.does == "tools" and not told.get("tools"):
            found.append("no tool was called")
        return found

    def _faults_of_an_error(self, seen: Seen) -> list[str]:
        """A user must read what is wrong, in words that help."""
        if seen.report["ok"]:
            return [f"no error: {seen.text[:500]!r}"]
        if any(part in seen.text.lower() for part in WORDS[self.title]):
            return []
        return [f"none of {', '.join(WORDS[self.title])} is in {seen.text[:500]!r}"]


def _faults_in_the_books(seen: Seen) -> list[str]:
    found = [
        f"{row.route}: {row.state}, charged {row.charged}"
        for row in seen.rows
        if row.state != "settled" or row.charged <= 0
    ]
    attempts = sum(len(row.outcomes) for row in seen.rows)
    if attempts != len(seen.asked):
        found.append(f"{attempts} attempts in the books for {len(seen.asked)} requests upstream")
    return found


BROKEN, WRONG, POOR = "broken stream", "wrong key", "budget used up"
WORDS: Mapping[str, Sequence[str]] = {
    BROKEN: ("broke off", "interrupted", "cut off"),
    WRONG: ("api key",),
    POOR: ("budget", "quota"),
}
"""One of these is in what a user reads."""

PICTURES = ("picture", "edit")

TRIALS: Mapping[str, Trial] = {
    "whole": Trial("chat", "whole"),
    "stream": Trial("stream", "stream"),
    "tools": Trial("tool call", "tools", WEATHER, scripts=("ok",), asked=2, rows=2),
    "failover": Trial("failover in mid-work", "tools", WEATHER, scripts=("ok", "bad_gateway"), asked=3, rows=2),
    "break": Trial(BROKEN, "stream", scripts=("cut;after_events=4",)),
    "key": Trial(WRONG, "whole", key=WRONG_KEY, asked=0, rows=0),
    "budget": Trial(POOR, "whole", key=POOR_KEY, asked=0, rows=0),
    "picture": Trial("picture", "picture", PAINT),
    "drawn": Trial("picture by a tool", "picture", PAINT, asked=2, rows=2),
    "edit": Trial("edit", "edit", PAINT, asked=2, rows=2),
}

TEXTS = ("whole", "stream", "tools", "failover", "break", "key", "budget")
OF_API: Mapping[str, Sequence[str]] = {
    "images": ("picture", "edit"),
    "image_generation": ("drawn",),
}


def trials_of(api: str) -> Sequence[str]:
    """The names of what is tried of an API of a client."""
    return OF_API.get(api, TEXTS)
