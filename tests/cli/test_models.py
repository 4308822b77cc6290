"""``models``: what is in force, its ends and prices, for eyes, for scripts and for tables; and ends as ``check`` tells
them."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.days import TODAY, in_days, move_to
from tests.process.running import settings, write

from .in_process import obeyed

KEYS = {"upstreams": {"piapi": {"keys": ["piapi-key-one"]}, "backup": {"keys": ["backup-key-one"]}}}


def with_models(**models: Any) -> dict[str, Any]:
    return {**KEYS, "models": models}


def ends_on(day: str, **more: Any) -> dict[str, Any]:
    return {"upstream": "backup", "shutdown": day, **more}


def listed() -> dict[str, Any]:
    scripted = obeyed("models", "--format", "json")
    assert (scripted.code, scripted.err) == (0, "")
    return {row["model"]: row for row in json.loads(scripted.out)}


def shown(model: str) -> str:
    """The first line of a model in the table."""
    (line,) = [line for line in obeyed("models").out.splitlines() if line.startswith(f"{model} ")]
    return line


async def test_the_table_has_a_line_a_target_and_the_age_of_the_prices(folder: Path, sandbox: Sandbox) -> None:
    write(folder, settings(sandbox, folder))
    table, rows = obeyed("models"), listed()
    assert (table.code, table.err) == (0, "")
    assert [target["upstream"] for target in rows["gpt-4o"]["targets"]] == ["piapi", "backup"]
    assert rows["gpt-4o"]["targets"][0]["price"] == {"input": "1.875", "output": "7.5"}
    assert rows["gpt-4o"]["plan"] == "Creator Plan or above"
    head, *lines, blank, age = table.out.splitlines()
    assert head.split("  ")[0] == "model"
    assert head.split()[4:] == ["operation", "state", "ends", "plan", "price", "usd"]
    assert len(lines) == sum(len(row["targets"]) for row in rows.values())
    assert any(line.startswith("gpt-4o ") and "input 1.875, output 7.5" in line for line in lines)
    assert blank == ""
    assert age.startswith("Prices: built-in catalogue of 2026-11-29 (0 days old)")


@pytest.mark.parametrize(
    ("as_of", "shown"),
    [(in_days(-3), f"mine.yaml of {in_days(-3)} (3 days old), and"), (None, "(0 days old), mine.yaml, and")],
)
def test_the_age_of_a_catalogue_of_ones_own_is_told_as_well(folder: Path, as_of: str | None, shown: str) -> None:
    write(folder, {**KEYS, "catalogue": "mine.yaml"})
    (folder / "mine.yaml").write_text("models: {}\n" + (f"as_of: {as_of}\n" if as_of else ""))
    age = obeyed("models").out.splitlines()[-1]
    assert age.startswith("Prices: built-in catalogue of 2026-11-29 (0 days old), mine.yaml")
    assert f"{shown} what your configuration sets." in age


def test_json_has_all_that_is_known_of_a_target(folder: Path) -> None:
    write(folder, KEYS)
    row = listed()["gpt-5.6-sol"]
    assert (row["aliases"], row["max_output"], row["state"]) == (["gpt-5.6"], 128_000, "on")
    assert row["notes"]
    assert row["targets"][0] == {
        "upstream": "backup",
        "model": "gpt-5.6-sol",
        "operation": "chat",
        "state": "on",
        "price": {
            "input": "5",
            "cached_input": "0.5",
            "cache_write": "6.25",
            "output": "30",
            "call": "0.01",
            "long": {"above": 272_000, "input": "2", "output": "1.5"},
            "tiers": {"flex": "0.5", "fast": "2", "priority": "2"},
            "estimated": True,
        },
        "source": "packages (4, 0.40, 5, 20); launch price (5, 0.50, 6.25, 30)",
        "as_of": "2026-11-20",
        "confidence": "medium",
        "shutdown": None,
        "successor": None,
    }
    ending = listed()["gpt-5"]["targets"][1]
    assert (ending["shutdown"], ending["successor"]) == ("2026-12-11", "gpt-6.1-sol")
    assert obeyed("models", "--json").out == obeyed("models", "--format", "json").out


def test_what_a_target_gets_otherwise_is_shown(folder: Path) -> None:
    rewrites = {"max_tokens": "max_completion_tokens", "drop": ["stop", "top_p"]}
    stand_in = {"upstream": "backup", "model": "gpt-6-luna", "rewrites": rewrites}
    write(folder, with_models(ours={"targets": [{"upstream": "piapi"}, stand_in]}))
    table = obeyed("models").out.splitlines()
    assert table[0].split()[-3:] == ["rewrites", "price", "usd"]
    (line,) = [line for line in table if "max_completion_tokens" in line]
    assert "max_tokens as max_completion_tokens, without stop, without top_p" in line
    assert line.split()[:3] == ["-", "backup", "gpt-6-luna"]
    rows = csv.DictReader(io.StringIO(obeyed("models", "--format", "csv").out))
    assert [row["rewrites"] for row in rows if row["model"] == "ours"] == [
        "",
        "max_tokens=max_completion_tokens|drop=stop,top_p",
    ]


def test_csv_has_the_same_a_line_each(folder: Path) -> None:
    write(folder, KEYS)
    answer = obeyed("models", "--format", "csv")
    assert (answer.code, answer.err) == (0, "")
    lines = list(csv.DictReader(io.StringIO(answer.out)))
    assert len(lines) == sum(len(row["targets"]) for row in listed().values())
    (luna,) = [line for line in lines if line["model"] == "gpt-6-luna"]
    assert (luna["input"], luna["cache_write"], luna["output"]) == ("0.1", "0.125", "0.5")
    assert luna["long"] == "above=272000|input=2|output=1.5"
    assert luna["tiers"] == "flex=0.5|fast=2|priority=2"
    (guess,) = [line for line in lines if (line["model"], line["upstream"]) == ("gpt-5", "piapi")]
    assert (guess["estimated"], guess["confidence"]) == ("true", "low")
    (drawn,) = [line for line in lines if (line["model"], line["upstream"]) == ("gpt-image-1", "piapi")]
    assert "low.1024x1024=0.011" in drawn["table"].split("|")
    assert "Prices:" not in answer.out


@pytest.mark.parametrize(
    ("days", "end"),
    [
        (91, ""),
        (90, f"ends {in_days(90)} → gpt-6-luna"),
        (30, f"ends {in_days(30)} → gpt-6-luna"),
        (0, f"ends {in_days(0)} → gpt-6-luna"),
        (-1, f"ended {in_days(-1)} → gpt-6-luna"),
        (-400, f"ended {in_days(-400)} → gpt-6-luna"),
    ],
)
def test_ends_are_shown_ninety_days_ahead(folder: Path, days: int, end: str) -> None:
    write(folder, with_models(ours={"targets": [ends_on(in_days(days), model="gpt-4o", successor="gpt-6-luna")]}))
    line = shown("ours")
    assert (end in line) if end else ("end" not in line)
    assert (" ended " in line) is (days < 0)
    assert listed()["ours"]["targets"][0]["shutdown"] == in_days(days)
    assert listed()["ours"]["state"] == ("ended" if days < 0 else "on")


def test_an_end_without_a_successor_names_none(folder: Path) -> None:
    write(folder, with_models(ours={"targets": [ends_on(in_days(3))]}))
    assert f"ends {in_days(3)} " in shown("ours")
    assert "→" not in shown("ours")


def test_a_year_later_the_table_says_how_old_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, KEYS)
    move_to(date(2026, 11, 30), monkeypatch)
    assert "(1 day old)" in obeyed("models").out.splitlines()[-1]
    move_to(date(2027, 11, 29), monkeypatch)
    assert "(365 days old)" in obeyed("models").out.splitlines()[-1]
    assert listed()["gpt-4o"]["targets"][1]["state"] == "ended"


class TestCheck:
    """It warns thirty days ahead and of what has ended; that is no error."""

    def warnings(self, model: str = "ours") -> list[str]:
        checked = obeyed("check")
        assert checked.code == 0
        return [line for line in checked.err.splitlines() if f"'{model}'" in line]

    @pytest.mark.parametrize(
        ("days", "words"),
        [
            (31, None),
            (30, "in 30 days"),
            (1, "in 1 day;"),
            (0, "ends today"),
            (-1, "ended on"),
            (-1000, "ended on"),
        ],
    )
    def test_names_the_day_the_successor_and_the_line(self, folder: Path, days: int, words: str | None) -> None:
        day = in_days(days)
        write(
            folder,
            "upstreams: {backup: {keys: [backup-key-one]}}\n"
            "models:\n"
            "  ours:\n"
            "    targets:\n"
            f"      - {{upstream: backup, model: gpt-4o, shutdown: {day}, successor: gpt-6-luna}}\n",
        )
        found = self.warnings()
        if words is None:
            assert found == []
            return
        (line,) = found
        assert line.startswith("warning: config.yaml:5: ")
        assert words in line
        assert day in line
        assert "change that target to model: gpt-6-luna" in line
        assert "404" in line
        assert line.removeprefix("warning: ") in json.loads(obeyed("check", "--json").out)["warnings"]

    def test_says_who_serves_it_then(self, folder: Path) -> None:
        targets = [ends_on(in_days(5)), {"upstream": "piapi", "model": "another"}]
        write(folder, with_models(ours={"targets": targets}))
        (line,) = self.warnings()
        assert "it is then served at 'piapi' (as 'another')" in line
        assert "404" not in line

    def test_says_nothing_of_what_is_not_used(self, folder: Path) -> None:
        write(
            folder,
            {
                "upstreams": {"piapi": {"keys": ["piapi-key-one"]}},
                "models": {"ours": {"targets": [ends_on(in_days(1))]}},
            },
        )
        assert obeyed("check").err == ""

    def test_counts_no_model_that_is_gone(self, folder: Path) -> None:
        def on() -> str:
            return obeyed("check").out.partition("OK, ")[2].partition(" ")[0]

        write(folder, KEYS)
        before = on()
        write(folder, with_models(ours={"targets": [ends_on(in_days(-1))]}))
        assert on() == before
        write(folder, with_models(ours={"targets": [ends_on(in_days(0))]}))
        assert int(on()) == int(before) + 1

    def test_has_one_line_a_model(self, folder: Path) -> None:
        both = [ends_on(in_days(5), successor="x"), {"upstream": "piapi", "shutdown": in_days(7), "successor": "y"}]
        write(folder, with_models(ours={"targets": both}))
        (line,) = self.warnings()
        assert "'x'" in line
        assert "'y'" in line

    def test_writes_the_entry_that_would_replace_a_built_in_one(self, folder: Path) -> None:
        write(folder, KEYS)
        (line,) = self.warnings("gpt-5")
        assert f"ends on 2026-12-11, in {(date(2026, 12, 11) - TODAY).days} days" in line
        entry = line.partition("or write: ")[2]
        assert entry == "models: {gpt-5: {targets: [{upstream: piapi}, {upstream: backup, model: gpt-6.1-sol}]}}"
        write(folder, f"upstreams: {{piapi: {{keys: [one]}}, backup: {{keys: [two]}}}}\n{entry}\n")
        assert self.warnings("gpt-5") == []
        successor = listed()["gpt-5"]["targets"][1]
        assert (successor["model"], successor["price"]["output"]) == ("gpt-6.1-sol", "10")

    def test_of_a_picture_model_keeps_how_it_is_bought(self, folder: Path) -> None:
        write(folder, KEYS)
        (line,) = self.warnings("gpt-image-1-mini")
        entry = "{gpt-image-1-mini: {targets: [{upstream: backup, model: gpt-image-2.6-flare, operation: images}]}}"
        assert line.endswith(f"or write: models: {entry}")

    def test_tells_of_the_built_in_ones_that_are_near_or_over_and_of_no_other(self, folder: Path) -> None:
        write(folder, KEYS)
        told = {line.split("'")[1] for line in obeyed("check").err.splitlines()}
        over = {"gpt-4.1-nano", "gpt-3.5-turbo", "gpt-image-1"}
        assert told == {*over, "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-image-1.5", "gpt-image-1-mini"}
