"""The page about compatibility: it tells what was kept of the runs, of the versions that are driven today."""

from __future__ import annotations

import re
import tomllib

import pytest

from scripts.docs.compatibility import Unsettled, compatibility_page
from scripts.docs.compatibility_notes import SETTINGS
from tests.compatibility.kept_results import Result, read_results
from tests.compatibility.table import Client, read_clients
from tests.compatibility.trials import TRIALS, trials_of

KEPT = list(read_results())


@pytest.mark.parametrize("client", read_clients(), ids=lambda client: client.id)
def test_every_call_of_every_client_was_made_with_the_version_that_the_table_names(client: Client) -> None:
    """Whoever renews a version runs ``make compatibility-results``."""
    kept = {row["call"]: row for row in KEPT if (row["client"], row["version"]) == (client.name, client.version)}
    assert set(kept) == {f"{api}/{name}" for api in client.apis for name in trials_of(api)}
    for call, row in kept.items():
        wanted = "not applicable" if call in client.without else "failed" if call in client.fails else "passed"
        assert (call, row["result"]) == (call, wanted)
        assert row["note"] == client.without.get(call, client.fails.get(call, ""))


def test_a_row_says_when_and_how_it_went() -> None:
    for row in KEPT:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
        assert row["result"] in ("passed", "failed", "not applicable")
        assert row["note"] or row["result"] == "passed"


def test_what_failed_is_told_with_its_reason() -> None:
    worse: list[Result] = [dict(row) for row in KEPT]  # type: ignore[misc]
    row = next(row for row in worse if row["call"] == "chat/stream")
    row.update(result="failed", note="it hung")
    lines = compatibility_page(worse).splitlines()
    assert f"- {row['client']}, stream (chats): it hung." in lines
    [line] = [line for line in lines if line.startswith(f"| {row['client']} | {row['version']} | chats |")]
    assert line.count("✗") == 1


def test_suites_of_the_sdks_have_a_table_of_their_own() -> None:
    suite: Result = {
        "client": "openai-python",
        "version": "3.57.0",
        "date": "2026-11-29",
        "call": "chat completions",
        "result": "passed",
        "note": "12 tests",
    }
    page = compatibility_page([*KEPT, suite])
    assert "| openai-python | 3.57.0 | 2026-11-29 | chat completions | passed | 12 tests |" in page


def test_a_client_without_its_settings_is_refused() -> None:
    stranger: Result = {**KEPT[0], "client": "a stranger", "call": "chat/whole"}
    with pytest.raises(Unsettled, match="a stranger"):
        compatibility_page([*KEPT, stranger])


def test_codex_is_led_here_by_a_configuration_that_is_one() -> None:
    [written] = re.findall(r"```toml\n(.*?)```", SETTINGS["codex"], re.DOTALL)
    settings = tomllib.loads(written)
    assert settings["web_search"] == "disabled"
    assert settings["model_providers"]["piapi"]["wire_api"] == "responses"


def test_every_trial_has_a_column_or_a_table() -> None:
    page = compatibility_page(KEPT)
    for trial in TRIALS.values():
        assert trial.title in page or trial.does == "picture"
