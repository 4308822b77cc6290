"""``docs/outcomes.md`` and the table in ``core/outcomes/table.py`` say the same, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.outcomes.table import RULES, Scope, Verdict, client_error, verdict
from gateway.core.types import CostClass
from tests.core.builders import ended

DOCUMENT = Path(__file__).parents[3] / "docs" / "outcomes.md"
HEAD = "| outcome | what happened | where next | the client is told in the end | held against |"

WHERE_NEXT = {
    Verdict.DONE: "–",
    Verdict.FRESH_CONNECTION: "same endpoint, fresh connection",
    Verdict.AS_ASKED: "the same again, as the client asked",
    Verdict.NEXT_CREDENTIAL: "next key",
    Verdict.NEXT_ENDPOINT: "next endpoint",
    Verdict.NEXT_TARGET: "next upstream",
    Verdict.STOP: "nobody",
}
HELD_AGAINST = {
    Scope.NOTHING: "nobody",
    Scope.KEY: "the key",
    Scope.KEY_MODEL: "the key, for the model",
    Scope.ENDPOINT: "the endpoint",
    Scope.ENDPOINT_MODEL: "the endpoint, for the model",
    Scope.UPSTREAM_MODEL: "the upstream, for the model",
    Scope.ORIGIN: "the endpoint, then the upstream for the model",
}


def cells_of(slug: str) -> tuple[str, str, str]:
    """The row's last three cells, as the code has them, for a request that is billed by tokens."""
    outcome = ended(slug)
    error = client_error(outcome, CostClass.TOKENS, model="m")
    told = "–" if outcome.ok else f"{error.status} `{error.code}`"
    return WHERE_NEXT[verdict(outcome, CostClass.TOKENS)], told, HELD_AGAINST[RULES[slug].against]


def documented() -> dict[str, list[str]]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = lines.index(HEAD) + 2
    rows: dict[str, list[str]] = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        slug, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
        assert slug.strip("`") not in rows
        rows[slug.strip("`")] = cells
    return rows


def test_every_outcome_is_documented_and_nothing_else() -> None:
    assert list(documented()) == list(RULES)


@pytest.mark.parametrize("slug", RULES)
def test_the_row_says_what_the_code_does(slug: str) -> None:
    meaning, *cells = documented()[slug]
    assert meaning
    assert tuple(cells) == cells_of(slug)
