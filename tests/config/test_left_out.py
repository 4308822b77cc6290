"""What an entry with one wrong value says otherwise is held against the rest of the file, too: one run tells it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError

NOWHERE = "there is no such upstream; known here: backup, piapi"
TAKEN = "another key has this name; names must differ"


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file, without its name."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    return [line.removeprefix(f"{path}:") for line in str(refused.value).splitlines()]


def test_an_unknown_upstream_beside_another_mistake(tmp_path: Path) -> None:
    text = """\
models:
  gpt-4o:
    targets:
      - {upstream: nowhere}
      - {upstream: backup, shutdown: 2027-02-30}
  gpt-4.1: {targets: [{upstream: piapi, price: {input: -1}}, {upstream: bakcup}]}
  gpt-5: {targets: [{upstream: nowhere}]}
  gpt-6: 7
  gpt-7: {targets: {upstream: nowhere}}
"""
    assert problems(tmp_path, text) == [
        f"4:20: models.gpt-4o.targets[0].upstream: {NOWHERE}",
        "5:38: models.gpt-4o.targets[1].shutdown: expected a day, such as 2027-01-14",
        "6:56: models.gpt-4.1.targets[0].price.input: expected an amount from 0 to 1000000000 US dollars",
        "6:73: models.gpt-4.1.targets[1].upstream: there is no such upstream; did you mean 'backup'?",
        f"7:32: models.gpt-5.targets[0].upstream: {NOWHERE}",
        "8:10: models.gpt-6: expected a mapping, such as {name: value}",
        "9:20: models.gpt-7.targets: expected a list, such as [a, b]",
    ]


def test_upstreams_that_cannot_be_read_are_not_missed(tmp_path: Path) -> None:
    told = problems(tmp_path, "upstreams: 7\nmodels: {gpt-4o: {targets: [{upstream: mine, shutdown: soon}]}}\n")
    assert [line.split(":")[2].strip() for line in told] == ["upstreams", "models.gpt-4o.targets[0].shutdown"]


def test_an_upstream_with_a_mistake_is_still_one(tmp_path: Path) -> None:
    text = "upstreams: {mine: {dialect: x}}\nmodels: {gpt-4o: {targets: [{upstream: mine, shutdown: soon}]}}\n"
    assert not any("no such upstream" in line for line in problems(tmp_path, text))


@pytest.mark.parametrize("wrong", ["first", "second", "both"])
def test_a_name_given_twice_beside_another_mistake(tmp_path: Path, wrong: str) -> None:
    first, second = (", rpm: 0" if wrong in (which, "both") else "" for which in ("first", "second"))
    text = f"""\
keys:
  - {{name: alice, key: gw-0123456789abcdef-1{first}}}
  - {{name: bob, key: gw-0123456789abcdef-2}}
  - {{name: alice, key: gw-0123456789abcdef-3{second}}}
  - 7
"""
    told = problems(tmp_path, text)
    assert [line for line in told if TAKEN in line] == [f"4:12: keys[2].name: {TAKEN}"]
    assert sum("rpm" in line for line in told) == (2 if wrong == "both" else 1)
