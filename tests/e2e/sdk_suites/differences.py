"""What of an SDK's own tests is asked otherwise here, what does not apply, and what came of a run.

A table (openai.toml, anthropic.toml) has ``adapted``: text of the tests that is replaced, and ``listed``: tests that do
not apply. Each entry has its reason, and each must be needed: what finds nothing, or passes, is stale.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

_IMPORT_AFTER = "from __future__ import annotations\n"
_OWN_IMPORT = "\nimport sdk_suite\n"
_ASKS_NOTHING = "test_path_params_"
"""The beginning of the names of tests that end within the SDK: they are never listed."""

_FORMS = re.compile("test_(method|raw_response|streaming_response)_")
_VARIANTS = re.compile(r"_overload_\d+$|_with_all_params(_overload_\d+)?$|_disallows_pydantic$")


@dataclass(frozen=True)
class Adapted:
    """Text that is replaced. ``only``: the versions that have it; empty for all. ``note``: kept with the results."""

    files: tuple[str, ...]
    find: str
    replace: str
    reason: str
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """Tests that do not apply."""

    tests: tuple[str, ...]
    reason: str
    only: tuple[str, ...] = ()

    def covers(self, test: Test) -> bool:
        return not test.asks_nothing and any(fnmatchcase(test.short, _literally(pattern)) for pattern in self.tests)


@dataclass(frozen=True)
class Test:
    """One test and what came of it. ``id``: pytest's. ``outcome``: passed | failed | skipped."""

    __test__ = False

    id: str
    outcome: str
    said: str = ""

    @property
    def short(self) -> str:
        """FILE::NAME[PARAMETER], the file within ``tests/api_resources``; both clients' tests have the same."""
        file, _, name = self.id.partition("::")
        return f"{file.removeprefix('tests/api_resources/')}::{name.rpartition('::')[2] or name}"

    @property
    def asks_nothing(self) -> bool:
        return self.short.partition("::")[2].startswith(_ASKS_NOTHING)

    @property
    def call(self) -> str:
        """The SDK's name of the call: ``chat.completions.create``."""
        file, _, name = self.short.partition("::")
        *folders, last = file.removesuffix(".py").split("/")
        name = _FORMS.sub("", name.partition("[")[0])
        return ".".join([*folders, last.removeprefix("test_"), _VARIANTS.sub("", name)])

    @property
    def is_call(self) -> bool:
        """Whether a server is asked."""
        return self.outcome != "skipped" and _FORMS.match(self.short.partition("::")[2]) is not None


@dataclass(frozen=True)
class Differences:
    """A table as it holds for one version."""

    adapted: tuple[Adapted, ...]
    listed: tuple[Listed, ...]

    @classmethod
    def read(cls, path: Path, version: str) -> Differences:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(
            tuple(_rows(Adapted, table.get("adapted", ()), version)),
            tuple(_rows(Listed, table.get("listed", ()), version)),
        )

    def adapt(self, tests: Path) -> list[str]:
        """Write the tests below a folder as they are asked here. Returns what found nothing, in words."""
        problems = []
        for entry in self.adapted:
            found = 0
            for path in (tests / name for name in entry.files):
                text, count = re.subn(entry.find, entry.replace, path.read_text(encoding="utf-8"))
                if count and "sdk_suite." in entry.replace and _OWN_IMPORT not in text:
                    text = text.replace(_IMPORT_AFTER, _IMPORT_AFTER + _OWN_IMPORT, 1)
                path.write_text(text, encoding="utf-8")
                found += count
            if not found:
                problems.append(f"stale: {entry.find!r} is found nowhere in {', '.join(entry.files)}")
        return problems

    def judge(self, tests: Sequence[Test]) -> list[str]:
        """What is wrong with a run, in words: what failed unlisted, and what is listed and should not be."""
        problems = [
            f"failed: {test.id}: {test.said}"
            for test in tests
            if test.outcome == "failed" and not any(entry.covers(test) for entry in self.listed)
        ]
        for entry in self.listed:
            covered = [test for test in tests if entry.covers(test)]
            idle = [one for one in entry.tests if not any(Listed((one,), "").covers(test) for test in covered)]
            problems += [f"stale: there is no test {pattern}" for pattern in idle]
            problems += [f"stale: {test.id} is listed, and passes" for test in covered if test.outcome == "passed"]
        return problems

    def rows(self, tests: Iterable[Test], around: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """What came of each call, as docs/compatibility.md is made from. ``around``: client, version and date."""
        calls: dict[str, list[Test]] = {}
        for test in tests:
            if test.is_call:
                calls.setdefault(test.call, []).append(test)
        for call, of_it in sorted(calls.items()):
            reasons = [entry.reason for entry in self.listed if any(entry.covers(test) for test in of_it)]
            asked = [test for test in of_it if not any(entry.covers(test) for entry in self.listed)]
            failed = any(test.outcome == "failed" for test in asked)
            result = "failed" if failed else "passed" if asked else "not applicable"
            count = f"{len(asked)} of {len(of_it)} tests" if asked else ""
            yield {**around, "call": call, "result": result, "note": ": ".join(filter(None, (count, *reasons)))}


def _rows(kind: Any, rows: Iterable[Mapping[str, Any]], version: str) -> Iterator[Any]:
    for row in rows:
        entry = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})
        if not entry.only or version in entry.only:
            yield entry


def _literally(pattern: str) -> str:
    """A pattern in which ``*`` is the only wildcard; tests' parameters stand in brackets, which are their own."""
    return pattern.replace("[", "[[]")
