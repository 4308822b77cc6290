"""The modules that write the reference pages: they refuse what has no meaning, and what they write is true."""

from __future__ import annotations

import argparse
import ast
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter

from gateway.config import values
from gateway.config.document import read_document
from gateway.config.fields import Name, Read, Section
from gateway.config.problems import Problems
from gateway.config.tree import read_tree
from gateway.core import errors
from gateway.core.errors import GatewayError
from gateway.core.outcomes.table import RULES, client_error
from gateway.core.types import CostClass, Outcome, Phase
from gateway.jobs.job_errors import still_running
from gateway.server.cors import EXPOSED
from gateway.workers.admin import no_worker
from scripts.docs import error_sources
from scripts.docs.cli import Undescribed, cli_page, whole_command
from scripts.docs.configuration import configuration_page, default_text, written
from scripts.docs.error_meanings import MEANINGS
from scripts.docs.error_sources import GATEWAY, Made, Unclear, errors_made
from scripts.docs.errors import Unexplained, check_explained
from scripts.docs.headers import SENT
from scripts.docs.markdown import anchor, code, table
from scripts.docs.schema_keys import Key, SectionFacts, Undocumented, sections


def test_a_page_can_read_every_header_that_is_about_its_request() -> None:
    of_the_bytes = {"x-accel-buffering", "x-content-type-options"}
    assert set(EXPOSED) == (SENT.keys() - of_the_bytes) | {"retry-after", "retry-after-ms"}


KEYS = [pytest.param(section, key, id=section.full(key)) for section in sections() for key in section.keys]


def read(section: SectionFacts, key: Key, text: str) -> object:
    """What the schema makes of ``text`` as the value of a key; raises where it refuses it."""
    environ = dict.fromkeys(("ADMIN_KEY", "HOOK_SECRET", "ALICE_KEY", "OTLP_KEY"), "a-value-of-the-environment")
    problems = Problems()
    document = read_document(read_tree(f"it: {text}", "example", problems), "example", environ, problems)
    assert not problems.lines()
    field = section.model.model_fields[key.name]
    annotation = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation  # type: ignore[valid-type]
    return TypeAdapter(annotation).validate_python(document.data["it"])


class TestConfiguration:
    @pytest.mark.parametrize(("section", "key"), KEYS)
    def test_the_schema_takes_every_example(self, section: SectionFacts, key: Key) -> None:
        if key.example is not None:
            read(section, key, key.example)

    @pytest.mark.parametrize(("section", "key"), KEYS)
    def test_a_default_is_written_as_the_file_would_have_it(self, section: SectionFacts, key: Key) -> None:
        text = default_text(key)
        if text.startswith("`"):
            assert read(section, key, text.strip("`")) == key.default
        else:
            assert key.required or key.section is not None or key.default is None

    @pytest.mark.parametrize(
        ("value", "kind", "text"),
        [
            (0.5, "duration", "500ms"),
            (60.0, "duration", "60s"),
            (120.0, "duration", "2m"),
            (86400.0, "duration", "24h"),
            (5400.0, "duration", "90m"),
            (1536, "size", "1536B"),
            (2048, "size", "2KiB"),
            (50_000_000, "amount", "0.05"),
            ([], "list", "[]"),
        ],
    )
    def test_values_are_written_with_the_largest_unit_that_is_exact(self, value: object, kind: str, text: str) -> None:
        assert written(value, kind) == text

    def test_a_key_without_a_meaning_is_refused(self) -> None:
        class Careless(Section):
            """A section."""

            name: Name = Field(examples=["x"])

        with pytest.raises(Undocumented, match="name has no meaning"):
            list(sections(Careless))

    def test_a_key_without_an_example_is_refused(self) -> None:
        class Careless(Section):
            """A section."""

            name: Name = Field(description="A name.")

        with pytest.raises(Undocumented, match="name has no example"):
            list(sections(Careless))

    def test_a_section_without_a_docstring_is_refused(self) -> None:
        class Careless(Section):
            name: Name = Field(description="A name.", examples=["x"])

        with pytest.raises(Undocumented, match="Careless has no docstring"):
            list(sections(Careless))

    def test_a_type_without_a_name_is_refused(self) -> None:
        class Careless(Section):
            """A section."""

            number: complex = Field(description="A number.", examples=["1"])

        with pytest.raises(Undocumented, match="complex"):
            list(sections(Careless))

    def test_what_a_reload_cannot_change_is_marked_so(self) -> None:
        marked = [line.split("`")[1] for line in configuration_page().splitlines() if "*Restart.*" in line]
        assert {"store", "time_zone", "in_flight", "fetch_hosts", "level"} <= set(marked)
        assert "body" not in marked


def test_read_is_what_pydantic_validates_with() -> None:
    adapter = TypeAdapter(Annotated[float, Read(values.duration, "duration")])
    assert adapter.validate_python("2m") == 120.0
    with pytest.raises(ValueError, match="with its unit"):
        adapter.validate_python(5)


class TestErrors:
    def test_an_unexplained_error_and_an_explanation_of_none_are_refused(self) -> None:
        known = frozenset(Made(status, "x", name) for status, name in MEANINGS)
        with pytest.raises(Unexplained, match="418"):
            check_explained(known | {Made(418, "x", "teapot")})
        with pytest.raises(Unexplained, match="invalid_json"):
            check_explained(frozenset(made for made in known if made.code != "invalid_json"))

    def test_an_error_whose_code_cannot_be_told_is_refused(self) -> None:
        call = ast.parse("ClientError(status(), 'x', 'y', 'z')").body[0]
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call)
        with pytest.raises(Unclear, match="cannot tell"):
            error_sources.made((*call.value.args[:3],), None, call.value)

    def test_codes_that_reach_their_maker_as_an_argument_are_found(self) -> None:
        assert {
            Made(409, "invalid_request_error", "key_in_file"),
            Made(400, "invalid_request_error", "invalid_form"),
        } <= (errors_made())

    def test_only_what_may_be_sent_again_says_so(self) -> None:
        told: list[GatewayError] = [
            client_error(Outcome(slug, phase, retry_after=1.0), cost, model="m", retry_after=1.0)
            for slug in RULES
            for phase in Phase
            for cost in CostClass
        ]
        told += [
            errors.rate_limit_exceeded("", 1.0),
            errors.ledger_unavailable(),
            errors.gateway_overloaded(),
            errors.server_shutting_down(),
            still_running("job_1"),
            no_worker(),
            errors.invalid_api_key(),
            errors.internal_error(),
        ]
        again = {(error.status, str(error.code)) for error in told if error.should_retry}
        assert again == {key for key, meaning in MEANINGS.items() if meaning.again}

    def test_an_error_made_elsewhere_may_be_sent_again_only_if_its_meaning_says_so(self) -> None:
        """By the source: who gives ``retry_after`` a value outside core/errors.py makes an error that is marked."""
        for path in GATEWAY.rglob("*.py"):
            room = path.relative_to(GATEWAY).as_posix()
            if room.startswith(error_sources.NOT_SERVED) or room in ("core/errors.py", "core/outcomes/table.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                made = isinstance(node, ast.Call) and error_sources.called(node) in error_sources.MAKERS
                if made and any(keyword.arg == "retry_after" for keyword in node.keywords):
                    status, name = (each.value for each in (node.args[0], node.args[2]))
                    assert MEANINGS[status, name].again, room


class TestCommandLine:
    def test_an_option_without_help_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parser = argparse.ArgumentParser(description="A program.")
        parser.add_argument("--silent")
        monkeypatch.setattr("scripts.docs.cli.PARSER", lambda: parser)
        with pytest.raises(Undescribed, match="--silent SILENT has no help"):
            whole_command()

    def test_examples_stand_in_blocks_of_their_own(self) -> None:
        section = cli_page().partition("## `piapi-gateway keys`")[2].partition("###")[0]
        assert "```sh\npiapi-gateway keys create alice" in section

    def test_what_markdown_would_take_for_its_own_is_escaped(self) -> None:
        (option,) = [
            option
            for command in whole_command().below()
            if command.words == ("keys", "create")
            for option in command.options
            if option.names == ("--models",)
        ]
        assert r"'\*' may end one" in option.meaning


class TestMarkdown:
    def test_a_bar_inside_a_cell_stays_there(self) -> None:
        assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"

    def test_code_with_a_backtick_is_fenced_by_two(self) -> None:
        assert code("a`b") == "`` a`b ``"

    @pytest.mark.parametrize(
        ("heading", "fragment"),
        [
            ("`upstreams.NAME.keys[]`", "upstreamsnamekeys"),
            ("Exit codes", "exit-codes"),
            ("`budget_alerts`", "budget_alerts"),
        ],
    )
    def test_a_heading_has_githubs_fragment(self, heading: str, fragment: str) -> None:
        assert anchor(heading) == fragment
