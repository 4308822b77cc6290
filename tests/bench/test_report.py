"""The tables: what counts as met, what is compared, and that a kept run reads back as it was."""

from __future__ import annotations

import json
from pathlib import Path

from bench import results
from bench.report import ALONE, Goal, Row, data, markdown, rows_of, text


def row(*figures: float, more_is_better: bool = False, **servers: float) -> Row:
    made = Row("speed", Goal("speed of light", "µs", 40, 20, more_is_better=more_is_better))
    for figure in figures:
        made.add("gateway", figure, rate=1000 + figure)
        for server, part in servers.items():
            made.add(server, figure * part)
    return made


class TestMet:
    def test_one_round_is_enough(self) -> None:
        assert row(50, 30, 60).met() == "must"
        assert row(50, 19, 60).met() == "goal"
        assert row(41, 50).met() == "no"

    def test_more_may_be_better(self) -> None:
        more = Row("speed", Goal("speed of light", "/s", 40, 60, more_is_better=True))
        more.add("gateway", 39)
        assert more.met() == "no"
        more.add("gateway", 41)
        assert (more.met(), more.best("gateway"), more.goal.text()) == ("must", 41, "≥ 40 (60) /s")

    def test_nothing_was_to_be_met_or_nothing_measured(self) -> None:
        assert row().met() == "–"
        free = Row("speed", Goal("speed of light", "µs"))
        free.add("gateway", 1)
        assert (free.met(), free.goal.text()) == ("–", "–")

    def test_a_round_that_did_not_carry_its_load_meets_nothing(self) -> None:
        paced = Row("speed", Goal("speed of light", "µs", 40, offer=1000))
        paced.add("gateway", 20.0, rate=600)
        paced.add("gateway", 50.0, rate=1000)
        assert paced.met() == "no"
        paced.add("gateway", 39.0, rate=800)
        assert paced.met() == "must"

    def test_a_limit_may_be_a_multiple_of_a_peers_best(self) -> None:
        beside = Row("speed", Goal("speed of light", "µs", 7, 5, of="envoy"))
        beside.add("gateway", 60.0)
        assert beside.met() == "–"  # without the peer nothing can be told
        beside.add("envoy", 20.0)
        assert (beside.met(), beside.goal.text()) == ("goal", "≤ 7 (5) × envoy")
        beside.add("envoy", 10.0)
        assert beside.met() == "must"
        beside.add("envoy", 8.0)
        assert beside.met() == "no"


class TestTables:
    def test_columns_are_what_was_measured(self) -> None:
        lines = markdown([row(50, 30, 60, envoy=0.5, nginx=0.1)]).splitlines()
        assert lines[0] == "### Beside its peers"
        assert lines[2] == "| measure | must (goal) | met | gateway | nginx | envoy | × nginx | × envoy |"
        assert lines[4] == (
            "| speed of light, µs | ≤ 40 (20) µs | must | 30.0 / 50.0 at 1,050/s"
            " | 3.00 / 5.00 | 15.0 / 25.0 | 10.00 | 2.00 |"
        )

    def test_rows_without_a_peer_have_a_dash_and_rows_of_the_gateway_a_table_of_their_own(self) -> None:
        alone = Row("keys", Goal("keys", "ms", table=ALONE))
        alone.add("gateway", 3)
        told = markdown([row(30, nginx=0.1), row(30), alone])
        assert "| speed of light, µs | ≤ 40 (20) µs | must | 30.0 / 30.0 at 1,030/s | – | – |" in told
        assert told.endswith(
            "| measure | must (goal) | met | gateway |\n| --- | --- | --- | --- |\n| keys, ms | – | – | 3.00 / 3.00 |"
        )

    def test_a_load_at_its_end_is_marked(self) -> None:
        marked = row(30)
        marked.add("nginx", 3, rate=9, bound=True)
        assert "3.00 / 3.00 at 9/s †" in markdown([marked])
        assert "30.0 / 30.0 at 1,030/s |" in markdown([marked])

    def test_the_text_says_the_same(self) -> None:
        title, head, line = text([row(50, 30, 60)]).splitlines()
        assert title == "Beside its peers"
        assert head.split() == ["measure", "must", "(goal)", "met", "gateway"]
        assert line.startswith("speed of light, µs  ≤ 40 (20) µs  must")


def test_what_is_kept_reads_back_as_it_was(tmp_path: Path) -> None:
    marked = row(50, 30, 60, nginx=0.1, envoy=0.5)
    marked.add("direct", 1, rate=5, bound=True)
    of = Row("first", Goal("first token", "ms", 4, of="envoy", offer=5, more_is_better=True, table=ALONE))
    of.add("gateway", 1.5)
    run = results.Run({"date": "2026-11-29"}, [marked, of], {"litellm": "not installed: make bench-peers"})
    path = tmp_path / "run.json"
    path.write_text(run.dumped(), encoding="utf-8")
    again = results.load(path)
    assert again == run
    assert again.markdown() == run.markdown()
    assert rows_of(json.loads(json.dumps(data([marked, of])))) == [marked, of]


def test_people_find_best_median_and_multiples_in_the_file() -> None:
    [told] = data([row(50, 30, 60, nginx=0.1)])
    assert told["times"] == {"nginx": 10.0}
    assert told["servers"]["gateway"] == {
        "best": 30, "median": 50, "rounds": [50, 30, 60], "rates": [1050, 1030, 1060], "bound_by_load": 0,
    }  # fmt: skip


def test_a_peer_that_is_not_there_is_told_with_how_to_have_it() -> None:
    run = results.Run({}, [row(30)], {"litellm": "not installed: make bench-peers"})
    assert run.markdown().endswith("- litellm: not installed: make bench-peers")
    assert run.text().endswith("litellm: not installed: make bench-peers")


def test_the_newest_run_is_the_last_by_its_name(tmp_path: Path) -> None:
    assert results.newest(tmp_path) is None
    for name in ("2026-11-30-0010.json", "2026-11-29-2300.json", "2026-12-01-0900.txt"):
        (tmp_path / name).touch()
    assert results.newest(tmp_path) == tmp_path / "2026-11-30-0010.json"
