"""What the documentation names exists, and what exists is in its reference page."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from gateway.config import load
from gateway.sandbox import SCENARIOS
from scripts.docs.cli import Command, whole_command
from scripts.docs.configuration import ENVIRONMENT
from scripts.docs.error_meanings import MEANINGS
from scripts.docs.error_sources import errors_made
from scripts.docs.headers import headers_in_code
from scripts.docs.metrics import metrics
from scripts.docs.schema_keys import SectionFacts, sections

from .certificates import make_certificates
from .written import ROOT, blocks, first_cells, pages, spans

EVERY = pytest.mark.parametrize("path", pages())
SOURCES = (
    "gateway/**/*.py",
    "gateway/**/*.yaml",
    "gateway/**/*.sql",
    "scripts/*.py",
    "deploy/**/*",
    "Makefile",
    "bench/*.py",
)

STATUS_AND_CODE = re.compile(r"\b([45]\d\d) `([a-z_]+)`")
METRIC = re.compile(r"\bgateway_[a-z0-9_]+")
HEADER = re.compile(r"\bx-gateway-[a-z-]*[a-z]", re.IGNORECASE)
CALL = re.compile(r"(?:^|[\s(]|/bin/)(?<!--group )(?<!--user )piapi-gateway(?=\s|$)(.*)", re.MULTILINE)
CALLED = re.compile(r"""(?:'[^']*'|"[^"]*"|(?<!\s)#|[^#|;>&)'"])*""")
"""A command's words up to a comment or whatever else a shell has after it."""
SETTING = re.compile(r"[a-z_]+(\[\d*\])?(\.[\w*-]+(\[\d*\])?)+")
SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
FILE_NAME = re.compile(r".+\.(?:py|md|ya?ml|json|sql|db|png|toml|txt|service|pepper)")

ELSEWHERE = frozenset({"api_key", "base_url", "create_variation", "max_completion_tokens"})
"""Words of the OpenAI SDKs, which the gateway's code has no need of."""


@cache
def words_in_code() -> frozenset[str]:
    """Every word that the project's code has."""
    found: set[str] = set()
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix != ".png":
                found.update(re.findall(r"[A-Za-z0-9_]+", path.read_text(encoding="utf-8")))
                found.add(path.stem)
    return frozenset(found)


def page(name: str) -> str:
    return pages()[f"docs/{name}"]


class TestErrors:
    @EVERY
    def test_a_status_and_code_belong_together(self, path: str) -> None:
        for status, code in STATUS_AND_CODE.findall(pages()[path]):
            assert (int(status), code) in MEANINGS, f"{status} {code}"

    def test_each_that_is_made_is_explained(self) -> None:
        documented: set[tuple[int, str]] = set()
        for part in re.split(r"^## (?=\d)", page("errors.md"), flags=re.MULTILINE)[1:]:
            documented |= {(int(part[:3]), code) for code in first_cells(part)}
        assert documented == {(made.status, made.code) for made in errors_made()}


class TestMetrics:
    @EVERY
    def test_each_that_is_named_exists(self, path: str) -> None:
        known = {metric.name for metric in metrics()} | {made.code for made in errors_made()} | set(SCENARIOS)
        for name in METRIC.findall(pages()[path]):
            assert name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known, name

    def test_each_that_exists_is_explained(self) -> None:
        table = page("metrics.md").partition("## Labels")[0]
        assert list(first_cells(table)) == [metric.name for metric in metrics()]


class TestHeaders:
    @EVERY
    def test_each_that_is_named_exists(self, path: str) -> None:
        for name in HEADER.findall(pages()[path]):
            assert name.lower() in headers_in_code(), name

    def test_each_that_exists_is_explained(self) -> None:
        assert set(first_cells(page("headers.md"))) == headers_in_code()


def calls(text: str) -> Iterator[list[str]]:
    """The words after ``piapi-gateway`` wherever a page shows how to call it."""
    for code in (*blocks(text, "sh", "console", "bash"), *spans(text)):
        for rest in CALL.findall(code):
            called = CALLED.match(rest)
            assert called is not None
            yield shlex.split(called[0].replace("…", ""))


def called(words: list[str]) -> tuple[Command, list[str]]:
    """The command that words call, and the words after it."""
    command = whole_command()
    while words:
        below = next((each for each in command.commands if each.words[-1] == words[0]), None)
        if below is None:
            break
        command, words = below, words[1:]
    return command, words


class TestCommands:
    @EVERY
    def test_each_that_is_shown_can_be_called(self, path: str) -> None:
        for words in calls(pages()[path]):
            command, rest = called(words)
            if command.commands and rest and not rest[0].startswith("-"):
                assert rest[0].isupper(), f"piapi-gateway {' '.join(words)}"
            options = {name for each in command.below() for name in each.option_names} | {"--help"}
            for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
                assert option in options, f"piapi-gateway {' '.join(words)}"

    def test_each_that_exists_is_explained_with_its_options(self) -> None:
        parts = re.split(r"^#{2,} `piapi-gateway ?", page("cli.md"), flags=re.MULTILINE)[1:]
        documented = {tuple(part.partition("`")[0].split()): set(first_cells(part)) for part in parts}
        commands = {command.words: command for command in whole_command().below()}
        assert documented.keys() == commands.keys()
        for words, command in commands.items():
            assert {option.shown for option in command.options} <= {
                cell.replace("\\|", "|") for cell in documented[words]
            }


@cache
def every_setting() -> dict[str, SectionFacts]:
    return {section.path: section for section in sections()}


@cache
def setting_paths() -> tuple[tuple[str, ...], ...]:
    """The path of every key, a part for each name; NAME stands for any."""
    keys = [section.full(key) for section in every_setting().values() for key in section.keys]
    sections_named = [path for path in every_setting() if path]
    return tuple(tuple(path.replace("[]", "").split(".")) for path in (*keys, *sections_named))


def is_setting(name: str) -> bool:
    """Whether ``name`` is the end of a key's path, or a piece of one."""
    parts = re.sub(r"\[\d*\]", "", name).split(".")
    return any(
        all(known in ("NAME", part) for known, part in zip(path[start:], parts, strict=False))
        for path in setting_paths()
        for start in range(len(path) - len(parts) + 1)
    )


OWN_CATALOGUE = "my-models.yaml"
"""What the pages call a catalogue of one's own; its first line says so."""


class TestConfiguration:
    @EVERY
    def test_each_setting_that_is_named_exists(self, path: str) -> None:
        of_sections = {part for name in every_setting() for part in re.split(r"[.\[\]]+", name) if part.islower()}
        for name in spans(pages()[path]):
            if SETTING.fullmatch(name) and re.split(r"[.\[]", name)[0] in of_sections and not FILE_NAME.fullmatch(name):
                assert is_setting(name), name

    @EVERY
    def test_each_piece_of_a_file_can_be_loaded(self, path: str, tmp_path: Path) -> None:
        top = {key.name for key in every_setting()[""].keys}
        make_certificates(tmp_path)
        for number, text in enumerate(blocks(pages()[path], "yaml")):
            if text.startswith(f"# {OWN_CATALOGUE}\n"):
                (tmp_path / OWN_CATALOGUE).write_text(text, encoding="utf-8")
                continue  # loaded with the piece after it, which names it
            if top & yaml.safe_load(text).keys():
                file = tmp_path / f"{number}.yaml"
                file.write_text(text, encoding="utf-8")
                load(file, {name: f"a-value-of-{name}" for name in re.findall(r"\$\{(\w+)", text)})

    def test_each_key_stands_once_for_every_section_that_has_it(self) -> None:
        text = page("configuration.md").partition("## Environment variables")[0]
        keys = [key.name for section in every_setting().values() for key in section.keys]
        assert Counter(first_cells(text)) == Counter(keys)

    def test_each_variable_that_is_read_is_explained(self) -> None:
        builtin = (ROOT / "gateway" / "catalogue.yaml").read_text(encoding="utf-8")
        own = {"GATEWAY_KEY_PEPPER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"}
        assert set(re.findall(r"\$\{(\w+)", builtin)) | own == ENVIRONMENT.keys()
        text = page("configuration.md").partition("## Environment variables")[2]
        assert list(first_cells(text)) == list(ENVIRONMENT)


class TestWords:
    """A name that is no error, metric or setting (a field, an option of Python, a table) is at least in the code."""

    @EVERY
    def test_each_name_in_code_is_in_the_code(self, path: str) -> None:
        named = [name for name in spans(pages()[path]) if SNAKE.fullmatch(name) or VARIABLE.fullmatch(name)]
        assert [name for name in named if name not in words_in_code() | ELSEWHERE] == []
