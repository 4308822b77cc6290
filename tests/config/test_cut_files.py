"""When a file seems to have lost its end."""

from __future__ import annotations

import pytest

from gateway.config.cut_files import cut_off

OLD = """\
teams:
  growth: {budget: 500/month}
keys:
  - name: alice
    key: one
    budget: 5/day
  - name: bob
    key: two
    models: [gpt-4o]
    budget: 5/day
    rpm: 60
"""


@pytest.mark.parametrize("lines", range(1, 11))
def test_every_beginning_of_it_seems_cut_off(lines):
    assert cut_off(OLD, "".join(OLD.splitlines(keepends=True)[:lines])) == 11 - lines


@pytest.mark.parametrize("length", range(1, len(OLD) - 1))
def test_so_does_a_cut_at_any_character(length):
    assert bool(cut_off(OLD, OLD[:length])) == bool(OLD[:length].strip())


def test_a_cut_version_of_a_newer_file_is_found_by_its_last_line():
    newer = OLD.replace("500/month", "700/month")
    assert cut_off(OLD, newer[: newer.index("    rpm")]) == 1


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        "",
        OLD.replace("    budget: 5/day\n    rpm", "    rpm"),
        OLD.replace("    rpm: 60\n", "# all of it\n"),
        OLD + "  - name: carol\n    key: three\n",
        "keys: [{name: alice, key: one}]\n",
    ],
)
def test_a_file_with_an_end_of_its_own_is_whole(new):
    assert cut_off(OLD, new) == 0
