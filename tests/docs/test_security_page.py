"""docs/security.md: every row of the checklist has tests that are there, every defence says what it rests on, and the
page is found.
"""

from __future__ import annotations

import ast
import re

import pytest

from .written import ROOT, pages, spans

ROWS = 25
ATTACKERS = ("member", "page", "neighbour", "upstream", "disk", "configuration", "dependency")
A_TEST = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")


def text() -> str:
    return pages()["docs/security.md"]


def table(heading: str) -> list[list[str]]:
    """The rows of the one table below a heading, cell by cell, without its head."""
    part = re.split(rf"^## {re.escape(heading)}$", text(), flags=re.MULTILINE)[1].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    assert len(lines) > 2
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


CHECKLIST = table("The checklist")


def test_the_checklist_has_all_its_rows_in_order() -> None:
    assert [row[0] for row in CHECKLIST] == [str(number) for number in range(1, ROWS + 1)]
    assert all(len(row) == 3 and row[1] for row in CHECKLIST)


@pytest.mark.parametrize("row", CHECKLIST, ids=[row[0] for row in CHECKLIST])
def test_every_row_is_held_by_tests_that_are_there(row: list[str]) -> None:
    named = [A_TEST.fullmatch(span) for span in spans(row[2])]
    assert named
    for found in named:
        assert found is not None, row[2]
        path, called = found.groups()
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        tests = {function.name for function in functions if function.name.startswith("test_")}
        machines = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
        tests |= {name for target in machines if (name := ast.unparse(target)).startswith("Test")}  # Hypothesis's
        assert tests, f"{path} has no test"
        assert called is None or called in tests, f"{path} has no {called}"


def test_every_defence_says_what_it_rests_on_and_what_is_left_to_do() -> None:
    rows = table("What each defence rests on")
    assert len(rows) > 12
    assert all(len(row) == 3 and all(row) for row in rows)


def test_every_attacker_is_thought_of() -> None:
    rows = table("What there is to lose")
    assert all(len(row) == 3 and all(row) for row in rows)
    for attacker in ATTACKERS:
        assert [row for row in rows if attacker in row[0]], attacker


def test_it_is_linked_from_where_it_is_looked_for() -> None:
    assert "(security.md)" in pages()["docs/operating.md"]
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "(../SECURITY.md)" in text()
