"""The judge of what clients do: what it lets pass, and everything by which a call fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.compatibility.table import DRIVERS, Client, read_clients
from tests.compatibility.trials import LIGHTHOUSE, TRIALS, Row, Seen, trials_of

CLIENT = Client("a client", "1.0", "its.py", ["chat"])
PAID = Row("/v1/chat/completions", "good", "settled", 100, ["ok"])
ASKED = "api /v1/chat/completions"


def report(ok: bool = True, **seen: Any) -> dict[str, Any]:
    return {"call": "chat/whole", "ok": ok, "seen": seen}


GOOD: dict[str, Seen] = {
    "whole": Seen(report(text=f"You said: {LIGHTHOUSE}"), [ASKED], [PAID]),
    "stream": Seen(report(text=f"You said: {LIGHTHOUSE}", pieces=9), [ASKED], [PAID]),
    "tools": Seen(report(text="21 degrees in Rome", tools=["get_weather"]), [ASKED] * 2, [PAID] * 2),
    "failover": Seen(
        report(text="21 degrees in Rome", tools=["get_weather"]),
        [ASKED] * 3,
        [PAID, replace(PAID, outcomes=["upstream_5xx", "ok"])],
    ),
    "break": Seen(report(ok=False, error="APIError", text="The upstream broke off."), [ASKED], [PAID]),
    "key": Seen(report(ok=False, error="AuthenticationError", text="Incorrect API key"), [], []),
    "budget": Seen(report(ok=False, error="RateLimitError", text="The budget is used up"), [], []),
    "picture": Seen(report(pictures=[4000]), [ASKED], [PAID]),
    "edit": Seen(report(pictures=[4000]), [ASKED] * 2, [PAID] * 2),
    "drawn": Seen(report(pictures=[4000]), [ASKED] * 2, [PAID] * 2),
}


@pytest.mark.parametrize("name", TRIALS)
def test_what_is_as_it_should_be_passes(name: str) -> None:
    assert TRIALS[name].faults(GOOD[name], CLIENT, f"chat/{name}") == []


@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize(
    "worse",
    [
        lambda seen: replace(seen, asked=[*seen.asked, ASKED]),
        lambda seen: replace(seen, asked=[*seen.asked, ASKED], rows=[*seen.rows, PAID]),
        lambda seen: replace(seen, rows=[*seen.rows, replace(PAID, charged=0)]),
        lambda seen: replace(seen, rows=[*seen.rows, replace(PAID, state="unknown")]),
        lambda seen: replace(seen, report={**seen.report, "ok": not seen.report["ok"]}),
        lambda seen: replace(seen, report={**seen.report, "seen": {"text": "", "pictures": [], "error": "Error"}}),
    ],
    ids=["asked once more", "bought twice", "for nothing", "unsettled", "the other end", "nothing shown"],
)
def test_what_differs_in_one_thing_fails(name: str, worse: Any) -> None:
    assert TRIALS[name].faults(worse(GOOD[name]), CLIENT, f"chat/{name}")


def test_a_stream_in_one_piece_fails_and_so_does_an_answer_without_its_tool() -> None:
    at_once = replace(GOOD["stream"], report=report(text=f"You said: {LIGHTHOUSE}", pieces=1))
    assert TRIALS["stream"].faults(at_once, CLIENT, "chat/stream") == ["1 pieces"]
    untold = replace(GOOD["tools"], report=report(text="21 degrees in Rome", tools=[]))
    assert TRIALS["tools"].faults(untold, CLIENT, "chat/tools") == ["no tool was called"]


def test_a_client_that_asks_again_must_get_the_whole_answer() -> None:
    """Half of it, taken for the whole, is what a broken stream must never become."""
    client = replace(CLIENT, retries=True)
    twice = replace(GOOD["stream"], asked=[ASKED] * 2, rows=[PAID] * 2)
    assert TRIALS["break"].faults(twice, client, "chat/break") == []
    half = replace(GOOD["stream"], report=report(text="You said: Tell", pieces=3))
    assert TRIALS["break"].faults(half, client, "chat/break")
    assert TRIALS["break"].faults(half, CLIENT, "chat/break")


def test_a_client_that_chats_more_is_let_do_so_where_the_table_says_it() -> None:
    more = replace(GOOD["stream"], asked=[ASKED] * 2, rows=[PAID] * 2)
    client = replace(CLIENT, chatty=["chat/stream"])
    assert TRIALS["stream"].faults(more, client, "chat/stream") == []
    assert TRIALS["stream"].faults(more, client, "responses/stream")


@pytest.mark.parametrize("client", read_clients(), ids=lambda client: client.id)
def test_the_table_names_what_there_is(client: Client) -> None:
    assert (DRIVERS / client.driver).exists()
    calls = {f"{api}/{name}" for api in client.apis for name in trials_of(api)}
    assert calls >= {*client.without, *client.fails, *client.chatty}
    assert client.prompts.keys() <= TRIALS.keys()
    assert any(f"=={client.version}" in package or f"@{client.version}" in package for package in _packages(client))


def test_no_two_clients_share_an_environment() -> None:
    ids = [client.id for client in read_clients()]
    assert len(ids) == len(set(ids))


def _packages(client: Client) -> list[str]:
    return [*client.python, *client.npm]
