"""Whatever the file holds: a configuration or a list of problems, and never a surprise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config import Config, load
from gateway.config.schema import FileSection
from gateway.core.errors import ConfigError
from gateway.core.types import Budget

LINE = re.compile(r"(config|catalogue)\.yaml:[1-9][0-9]*:[1-9][0-9]*: \S.*")
ENVIRON = {"PIAPI_API_KEY": "one", "A": "text", "B": ""}
PLAIN_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
UNITS = st.sampled_from(["ms", "s", "m", "h"])
DURATIONS = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 999), UNITS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("any") / "config.yaml"


def outcome(path: Path, content: bytes) -> Config | None:
    """Load; a refusal must be well-formed, sorted lines."""
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        try:
            return load(Path(path.name), ENVIRON)
        except ConfigError as error:
            problems = error.problems
    assert problems
    for line in problems:
        assert LINE.fullmatch(line), line
    places = [tuple(map(int, line.split(":")[1:3])) for line in problems if line.startswith("config")]
    assert places == sorted(places)
    return None


@given(st.binary(max_size=200))
def test_any_bytes(path, content):
    outcome(path, content)


FRAGMENTS = st.sampled_from(
    [
        "\n", "  ", "- ", ": ", "? ", "[", "]", "{", "}", ", ", "'", '"', "|\n", "&a ", "*a", "<<: ", "!!str ", "# ",
        "---\n", "\t", "${A}", "${B:-", "${", "1", "-0.5", "1e5", "null", "true", "30s", "é", "\u2028", "[key]",
        *FileSection.model_fields, "piapi", "url", "name", "key", "targets", "upstream", "price", "budget", "50/month",
    ]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=40).map("".join))
@example("upstreams: {'[key]': {'[key]': 1}}\nmodels: {'[key]': 1}")
@example("time_zone: ''\nlisten: ''\nstore: ''")
def test_any_text_of_the_languages_own_pieces(path, text):
    outcome(path, text.encode())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["30s", "piapi", "50/month", "${A}", "${C}", "http://h", "sqlite:///x", "127.0.0.1:1", "20MiB"]),
)


def shaped(schema: Any) -> st.SearchStrategy[Any]:
    """Values with the schema's keys, and anything at all below them."""
    sections = {name: field.annotation for name, field in schema.model_fields.items()}
    keys = st.sampled_from([*sections, "unknown"])
    deeper = st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["name", "key", "value", "url", "targets", "upstream", "piapi", "x"]), inner
            ),
        ),
        max_leaves=8,
    )
    return st.dictionaries(keys, deeper, max_size=6)


@given(shaped(FileSection))
def test_any_values_in_the_right_places(path, data):
    outcome(path, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"))


@st.composite
def valid_files(draw: st.DrawFn) -> dict[str, Any]:
    """A valid file, as JSON can hold it."""
    teams = draw(st.lists(PLAIN_NAMES, unique=True, max_size=3))
    names = draw(st.lists(PLAIN_NAMES.filter(lambda name: name not in ("other", "anonymous")), unique=True, max_size=3))
    keys = []
    for index, name in enumerate(names):
        key: dict[str, Any] = {"name": name, "key": f"virtual-key-number-{index}"}
        if teams and draw(st.booleans()):
            key["team"] = draw(st.sampled_from(teams))
        if draw(st.booleans()):
            key["budget"] = f"{draw(st.integers(0, 10**6))}/{draw(st.sampled_from(['day', 'month', 'total']))}"
        key |= {limit: draw(st.integers(1, 10**6)) for limit in ("rpm", "tpm", "parallel") if draw(st.booleans())}
        keys.append(key)
    models = draw(st.dictionaries(PLAIN_NAMES, st.integers(0, 10**9), max_size=3))
    return {
        "listen": f"127.0.0.1:{draw(st.integers(9000, 9999))}",
        "drain": draw(DURATIONS),
        "upstreams": {"piapi": {"timeouts": {"head": draw(DURATIONS)}}},
        "models": {
            model: {"targets": [{"upstream": "piapi", "price": {"input": nano / 10**9 if nano % 2 else nano % 1000}}]}
            for model, nano in models.items()
        },
        "teams": {team: {"budget": "5/month"} for team in teams},
        "keys": keys,
    }


@given(valid_files(), st.booleans())
def test_a_valid_file_comes_through_unchanged_as_yaml_and_as_json(path, data, as_json):
    content = json.dumps(data) if as_json else yaml.safe_dump(data)
    config = outcome(path, content.encode())
    assert config is not None
    assert str(config.listen) == data["listen"]
    assert list(config.teams) == sorted(data["teams"]) or list(config.teams) == list(data["teams"])
    for key, given_key in zip(config.keys, data["keys"], strict=True):
        assert (key.name, key.team) == (given_key["name"], given_key.get("team"))
        assert (key.rpm, key.tpm, key.parallel) == tuple(given_key.get(limit) for limit in ("rpm", "tpm", "parallel"))
        if "budget" in given_key:
            amount, period = given_key["budget"].split("/")
            assert key.budget == Budget(int(amount) * 10**9, period)
    prices = {route.model: route.targets[0].price for route in config.routes if route.targets}
    for model, entry in data["models"].items():
        assert prices[model].input == round(entry["targets"][0]["price"]["input"] * 10**9)
