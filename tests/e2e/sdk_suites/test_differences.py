"""What of an SDK's own tests is asked otherwise or does not apply: a table that is needed in every entry."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from .differences import Adapted, Differences, Listed, Test
from .environment import FOLDER, read_sdks

AROUND = {"client": "openai", "version": "3", "date": "2026-11-29"}


def a_test(name: str, outcome: str = "passed", file: str = "test_images.py") -> Test:
    return Test(f"tests/api_resources/{file}::TestImages::{name}", outcome, "404")


def table(*listed: Listed, adapted: tuple[Adapted, ...] = ()) -> Differences:
    return Differences(adapted, listed)


class TestJudging:
    def test_what_fails_must_be_listed(self) -> None:
        failed = a_test("test_method_edit[loose]", "failed")
        assert table().judge([failed, a_test("test_method_generate[loose]")]) == [f"failed: {failed.id}: 404"]
        assert table(Listed(("test_images.py::*_edit[*",), "why")).judge([failed]) == []

    def test_what_is_listed_must_not_pass(self) -> None:
        passed = a_test("test_method_edit[strict]")
        listed = Listed(("test_images.py::*_edit[*",), "why")
        assert table(listed).judge([passed]) == [f"stale: {passed.id} is listed, and passes"]

    def test_what_is_listed_must_be_there(self) -> None:
        listed = Listed(("test_images.py::*_edit[*", "test_images.py::*_delete[*"), "why")
        problems = table(listed).judge([a_test("test_method_edit[strict]", "failed")])
        assert problems == ["stale: there is no test test_images.py::*_delete[*"]

    def test_brackets_are_a_parameters_own(self) -> None:
        listed = Listed(("test_images.py::*_edit[strict]",), "why")
        assert listed.covers(a_test("test_method_edit[strict]"))
        assert not listed.covers(a_test("test_method_edit[loose]"))
        assert not listed.covers(a_test("test_method_edits"))

    def test_a_test_that_asks_no_server_is_never_listed(self) -> None:
        failed = a_test("test_path_params_edit[loose]", "failed")
        everything = Listed(("test_images.py::*",), "why")
        assert table(everything).judge([failed, a_test("test_method_edit", "failed")]) == [f"failed: {failed.id}: 404"]

    def test_what_the_sdk_skips_is_no_failure(self) -> None:
        assert table().judge([a_test("test_method_edit[aiohttp]", "skipped")]) == []


class TestAdapting:
    def test_replaces_text_and_brings_along_what_is_named_in_it(self, tmp_path: Path) -> None:
        path = tmp_path / "test_images.py"
        path.write_text('from __future__ import annotations\n\nimport os\n\nedit(image=b"Example", n=0)\n')
        entries = (
            Adapted(("test_images.py",), 'b"Ex\\w+"', "sdk_suite.PICTURE", "why"),
            Adapted(("test_images.py",), "n=(0)", "n=1\\1", "why"),
        )
        assert table(adapted=entries).adapt(tmp_path) == []
        text = path.read_text()
        assert "edit(image=sdk_suite.PICTURE, n=10)" in text
        assert [line for line in text.splitlines() if "import" in line][1:] == ["import sdk_suite", "import os"]

    def test_says_what_finds_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "test_images.py").write_text("edit()\n")
        entry = Adapted(("test_images.py",), "n=0", "n=1", "why")
        assert table(adapted=(entry,)).adapt(tmp_path) == ["stale: 'n=0' is found nowhere in test_images.py"]


class TestCalls:
    @pytest.mark.parametrize(
        ("file", "name", "call"),
        [
            ("test_images.py", "test_method_generate_with_all_params_overload_1[loose]", "images.generate"),
            ("test_images.py", "test_raw_response_create_variation[strict]", "images.create_variation"),
            ("chat/test_completions.py", "test_method_create_disallows_pydantic[strict]", "chat.completions.create"),
            ("responses/test_input_items.py", "test_streaming_response_list[aiohttp]", "responses.input_items.list"),
        ],
    )
    def test_are_named_as_the_sdk_names_them(self, file: str, name: str, call: str) -> None:
        assert a_test(name, file=file).call == call

    def test_are_told_with_what_came_of_their_tests(self) -> None:
        listed = Listed(("test_images.py::*_edit[*", "test_images.py::*_generate[strict]"), "why")
        tests = [
            a_test("test_method_edit[loose]", "failed"),
            a_test("test_path_params_edit[loose]"),
            a_test("test_deprecated_model_warning"),
            a_test("test_method_draw[aiohttp]", "skipped"),
            a_test("test_method_generate[loose]"),
            a_test("test_method_generate[strict]", "failed"),
            a_test("test_method_vary[loose]", "failed"),
            a_test("test_method_vary[strict]"),
        ]
        assert [(row["call"], row["result"], row["note"]) for row in table(listed).rows(tests, AROUND)] == [
            ("images.edit", "not applicable", "why"),
            ("images.generate", "passed", "1 of 2 tests: why"),
            ("images.vary", "failed", "2 of 2 tests"),
        ]


class TestTheTables:
    def test_have_a_reason_for_everything(self) -> None:
        for name in {one.differences for one in read_sdks()}:
            rows = tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))
            reasons = [row["reason"] for kind in ("adapted", "listed") for row in rows.get(kind, ())]
            assert reasons
            assert all(len(reason.split()) >= 5 for reason in reasons)

    def test_name_in_their_texts_only_what_the_plugin_has(self) -> None:
        plugin = ast.parse((FOLDER / "inside" / "sdk_suite.py").read_text(encoding="utf-8"))
        there = {node.name for node in plugin.body if isinstance(node, ast.FunctionDef)} | {"PICTURE"}
        for sdk in read_sdks():
            for entry in Differences.read(FOLDER / sdk.differences, sdk.version).adapted:
                named = entry.replace.partition("sdk_suite.")[2].partition("(")[0]
                assert not named or named in there
