"""What YAML brings along: old traps, anchors, merges, bombs; and what the environment fills in."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.config.document import Document, read_document
from gateway.config.environment import Substituted, substitute
from gateway.config.problems import Problems
from gateway.config.tree import read_tree


def read(text: str, environ: dict[str, str] | None = None) -> tuple[Document, list[str]]:
    problems = Problems()
    document = read_document(read_tree(text, "f", problems), "f", environ or {}, problems)
    return document, problems.lines()


class TestScalars:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("no", "no"),
            ("on", "on"),
            ("1:30", "1:30"),
            ("2026-11-22", "2026-11-22"),
            ("0o17", "0o17"),
            (".nan", ".nan"),
            ("true", True),
            ("~", None),
            ("12", 12),
            ("200_000", 200_000),
            ("007", 7),
            ("1.10", Decimal("1.10")),
            ("1e3", Decimal(1000)),
            ("1e9999", "1e9999"),
            ("9" * 40, Decimal("9" * 40)),
            ("'12'", "12"),
            ('"true"', "true"),
            ("!!str 12", "12"),
        ],
    )
    def test_they_mean_what_they_look_like(self, text, value):
        document, problems = read(f"x: {text}")
        assert problems == []
        assert document.data == {"x": value}
        assert type(document.data["x"]) is type(value)

    def test_keys_are_always_text(self):
        assert read("{no: 1, 4.1: 2, ~: 3, '': 4}")[0].data.keys() == {"no", "4.1", "~", ""}


class TestAnchors:
    def test_an_alias_repeats_its_anchor(self):
        assert read("a: &x {b: [1]}\nc: *x")[0].data == {"a": {"b": [1]}, "c": {"b": [1]}}

    def test_a_problem_below_an_alias_is_placed_where_it_is_written(self):
        document, _ = read("a: &x {b: 1}\nc: *x")
        assert (document.position(("c", "b")).line, document.position(("c", "b")).column) == (1, 11)

    def test_merges_give_way_to_what_is_there_and_to_earlier_ones(self):
        text = "a: &a {x: 1, y: 1, z: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: [*b, {z: 3, w: 3}], x: 4}"
        assert read(text)[0].data["c"] == {"x": 4, "y": 2, "z": 1, "w": 3}

    def test_a_quoted_merge_key_is_an_ordinary_key(self):
        assert read("a: {'<<': 1}")[0].data == {"a": {"<<": 1}}

    def test_nothing_can_contain_itself(self):
        assert read("a: &a [*a]")[1] == ["f:1:8: a[0]: no anchor &a is complete above this alias"]

    def test_a_billion_laughs(self):
        lines = ["l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
        lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
        (problem,) = read("\n".join(lines))[1]
        assert "aliases make the file too deep or too big" in problem

    def test_a_long_chain_of_merges(self):
        lines = ["l0: &l0 {x: 1}"] + [f"l{n}: &l{n} {{<<: *l{n - 1}}}" for n in range(1, 3000)]
        (problem,) = read("\n".join(lines))[1]
        assert "too deep or too big" in problem

    @pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "? " * 5000, "- " * 5000])
    def test_deep_nesting(self, text):
        (problem,) = read(text)[1]
        assert "nested deeper than 40 levels" in problem


class TestSubstitution:
    @pytest.mark.parametrize(
        ("text", "result"),
        [
            ("plain", "plain"),
            ("$A {A}", "$A {A}"),
            ("${A}", "one"),
            ("<${A}-${B}>", "<one-two>"),
            ("${A:-x}", "one"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("$${A}", "${A}"),
            ("$${A} is ${A}", "${A} is one"),
            ("${NESTED}", "${A}"),
        ],
    )
    def test_filled(self, text, result):
        environ = {"A": "one", "B": "two", "EMPTY": "", "NESTED": "${A}"}
        assert substitute(text, environ) == result

    @pytest.mark.parametrize("text", ["${}", "${A", "${1A}", "${A:-${B}}", "${A-x}", "x ${ A }"])
    def test_malformed(self, text):
        with pytest.raises(ValueError, match="write "):
            substitute(text, {"A": "one", "B": "two"})

    def test_every_unset_variable_is_named(self):
        with pytest.raises(ValueError, match="variables X, Y are not set"):
            substitute("${X}${Y}${X}", {})

    def test_the_result_remembers_its_variables(self):
        result = substitute("${A}${B}${A}", {"A": "1", "B": "2"})
        assert isinstance(result, Substituted)
        assert result.names == ("A", "B")

    def test_numbers_may_come_from_the_environment_but_not_from_quotes(self, load_text, faults):
        text = """
            workers: ${WORKERS:-1}
            allow_unpriced: ${UNPRICED}
            failover: {attempts: "${ATTEMPTS}", unknown_outcome_up_to: "${UP_TO}", retry_budget: "${SHARE}"}
            """
        environ = {"UNPRICED": "true", "ATTEMPTS": "5", "UP_TO": "0.25", "SHARE": "0.5"}
        config = load_text(text, environ)
        assert (config.workers, config.allow_unpriced) == (1, True)
        assert (config.failover.attempts, config.failover.unknown_outcome_up_to) == (5, 250_000_000)
        assert faults("workers: '1'") == ["config.yaml:1:10: workers: expected a whole number from 1 to 1024"]
        (found,) = faults("workers: ${WORKERS}", {"WORKERS": "many"})
        assert found.endswith("expected a whole number from 1 to 1024 (it comes from WORKERS)")
