"""A catalogue of one's own: between the built-in one and the configuration's own models."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config import Config, load
from gateway.core.errors import ConfigError
from gateway.core.types import Route

from .conftest import Faults, Load


def own(text: str, name: str = "my-models.yaml") -> None:
    Path(name).write_text(dedent(text), encoding="utf-8")


def route(config: Config, model: str) -> Route:
    return next(one for one in config.declared if one.model == model)


def input_price(config: Config, model: str, target: int = 0) -> int | None:
    price = route(config, model).targets[target].price
    return None if price is None else price.input


MODELS = """
  house-model:
    max_output: 4096
    targets: [{upstream: backup, price: {input: 7, output: 8}}]
  gpt-4o:
    targets: [{upstream: backup, price: {input: 3, output: 12}}]
"""


@pytest.mark.parametrize("shape", ["models:", "as_of: 2026-11-20\nmodels:", ""])
def test_its_models_are_added_and_replace_built_in_ones_by_name(load_text: Load, shape: str) -> None:
    own(shape + (MODELS if shape else dedent(MODELS)))
    config = load_text("catalogue: ./my-models.yaml")
    assert input_price(config, "house-model") == 7_000_000_000
    assert route(config, "house-model").max_output == 4096
    assert [target.upstream.name for target in route(config, "gpt-4o").targets] == ["backup"]
    assert input_price(config, "gpt-4o") == 3_000_000_000
    # What it leaves out stays.
    assert route(config, "gpt-4o").max_output == route(load(None, {}), "gpt-4o").max_output
    assert route(config, "gpt-4o-mini") == route(load(None, {}), "gpt-4o-mini")
    assert config.catalogue == Path("my-models.yaml")
    assert config.catalogue_as_of == (date(2026, 11, 20) if "as_of" in shape else None)


def test_the_models_alone_may_have_a_date_too(load_text: Load) -> None:
    own("as_of: 2026-11-20" + dedent(MODELS))
    config = load_text("catalogue: my-models.yaml")
    assert config.catalogue_as_of == date(2026, 11, 20)
    assert input_price(config, "house-model") == 7_000_000_000


def test_the_configurations_own_models_come_on_top(load_text: Load) -> None:
    own("models:" + MODELS)
    config = load_text(
        """
        catalogue: my-models.yaml
        models:
          gpt-4o:
            targets: [{upstream: piapi, price: {input: 1, output: 2}}, {upstream: backup}]
          house-model: {targets: [{upstream: backup}]}
        """
    )
    assert input_price(config, "gpt-4o") == 1_000_000_000
    # What the configuration leaves out is what one's own catalogue says, before the built-in one.
    assert input_price(config, "gpt-4o", 1) == 3_000_000_000
    assert input_price(config, "house-model") == 7_000_000_000
    assert route(config, "house-model").max_output == 4096


def test_what_it_leaves_out_of_a_target_is_built_in(load_text: Load) -> None:
    own("models: {gpt-4o: {targets: [{upstream: backup}, {upstream: piapi}]}}")
    config = load_text("catalogue: my-models.yaml")
    built_in = route(load(None, {}), "gpt-4o").targets
    assert [target.price for target in route(config, "gpt-4o").targets] == [built_in[1].price, built_in[0].price]


def test_a_task_model_keeps_its_task_types(load_text: Load) -> None:
    own("models: {nano-banana-2: {targets: [{upstream: piapi, model: gemini, operation: task}]}}")
    config = load_text("catalogue: my-models.yaml")
    assert list(route(config, "nano-banana-2").targets[0].tasks) == ["nano-banana-2"]


def test_it_lies_beside_the_configuration_wherever_that_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "prices").mkdir()
    (folder / "prices" / "mine.yaml").write_text("models:" + MODELS, encoding="utf-8")
    (folder / "config.yaml").write_text("catalogue: prices/mine.yaml", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for path in (Path("etc/config.yaml"), folder / "config.yaml"):
        assert input_price(load(path, {}), "house-model") == 7_000_000_000
    absolute = folder / "prices" / "mine.yaml"
    (tmp_path / "config.yaml").write_text(f"catalogue: {absolute}", encoding="utf-8")
    assert load(Path("config.yaml"), {}).catalogue == absolute


@pytest.mark.parametrize("named", ["", "catalogue:", 'catalogue: ""', "catalogue: ${NOT_SET:-}"])
def test_none_is_the_built_in_one_alone(load_text: Load, named: str) -> None:
    config = load_text(named)
    assert config.declared == load(None, {}).declared
    assert config.catalogue is None


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "models:\n", "models: {}\n", "as_of: 2026-11-20\n"])
def test_an_empty_one_adds_nothing(load_text: Load, text: str) -> None:
    own(text)
    assert load_text("catalogue: my-models.yaml").declared == load(None, {}).declared


def test_it_is_filled_from_the_environment(load_text: Load) -> None:
    own("models: {house-model: {targets: [{upstream: backup, price: {input: '${IN}', output: '${OUT:-9}'}}]}}")
    config = load_text("catalogue: ${FILE}", {"IN": "4", "FILE": "my-models.yaml"})
    price = route(config, "house-model").targets[0].price
    assert price is not None
    assert (price.input, price.output) == (4_000_000_000, 9_000_000_000)


def test_a_file_that_is_not_there_is_an_error_that_names_it(faults: Faults) -> None:
    [problem] = faults("listen: 127.0.0.1:8400\ncatalogue: ./no-models.yaml\n")
    assert problem == "config.yaml:2:12: catalogue: no-models.yaml cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models:\n  x:\n    targets: [{upstream: nowhere}]\n", "my-models.yaml:3:26: models.x.targets[0].upstream:"),
        ("x:\n  targets: [{upstream: nowhere}]\n", "my-models.yaml:2:24: models.x.targets[0].upstream:"),
        (
            "models:\n  x: {target: [], targets: [{upstream: backup}]}\n",
            "my-models.yaml:2:7: models.x.target: unknown key",
        ),
        ("models:\n  x: {targets: []}\n", "my-models.yaml:2:16: models.x.targets: expected at least one"),
        ("models: {x: {targets: [{upstream: backup, price: {input: lots}}]}}", "my-models.yaml:1:58: models.x"),
        ("models: {}\nlisten: 1\n", "my-models.yaml:2:1: listen: unknown key"),
        ("models: {}\nmodelz: {}\n", "my-models.yaml:2:1: modelz: unknown key; did you mean 'models'?"),
        ("as_of: yesterday\nmodels: {}\n", "my-models.yaml:1:8: as_of: expected a day"),
        ("- a\n", "my-models.yaml:1:1: the file must be a mapping of models"),
        ("just text\n", "my-models.yaml:1:1: the file must be a mapping of models"),
        ("models: [\n", "my-models.yaml:2:1: not valid YAML"),
        ("models:\n  a: {targets: [{upstream: backup}]}\n  a: {}\n", "my-models.yaml:3:3: models.a: duplicate key"),
        ("models: {x: {targets: [{upstream: '${NOT_SET}'}]}}", "my-models.yaml:1:35: models.x.targets[0].upstream:"),
        (
            "x: {targets: [{upstream: piapi, operation: images, rewrites: {drop: [a]}}]}",
            "my-models.yaml:1:62: models.x.targets[0].rewrites:",
        ),
    ],
)
def test_errors_are_at_its_own_lines(faults: Faults, text: str, problem: str) -> None:
    own(text)
    [told] = faults("catalogue: my-models.yaml")
    assert told.startswith(problem)


def test_all_errors_of_both_files_are_told_at_once(faults: Faults) -> None:
    own("models:\n  x: {targets: [{upstream: nowhere}]}\n  y: {oops: 1, targets: []}\n")
    told = faults("catalogue: my-models.yaml\ndrian: 3s\nmodels: {z: {targets: [{upstream: elsewhere}]}}\n")
    assert [line.split(": ")[0] for line in told] == [
        "config.yaml:2:1",
        "config.yaml:3:35",
        "my-models.yaml:2:28",
        "my-models.yaml:3:7",
        "my-models.yaml:3:25",
    ]


@pytest.mark.parametrize("setting", ["5", "[a]", "true"])
def test_the_setting_is_a_text(faults: Faults, setting: str) -> None:
    [told] = faults(f"catalogue: {setting}")
    assert told.startswith("config.yaml:1:12: catalogue: expected text")


def test_a_folder_is_no_file(faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    [told] = faults("catalogue: models")
    assert told.startswith("config.yaml:1:12: catalogue: models cannot be read")


def test_a_copy_of_the_built_in_catalogue_will_do_and_says_what_of_it_has_no_effect(load_text: Load) -> None:
    text = files("gateway").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    own(text.replace("price: {input: 2.50, cached_input: 1.25", "price: {input: 5, cached_input: 1.25", 1))
    config = load_text("catalogue: my-models.yaml")
    assert config.warnings[-3:] == tuple(
        f"my-models.yaml: '{name}' has no effect; a catalogue of one's own has models"
        for name in ("admin", "upstreams", "flux_facts")
    )
    built_in = load(None, {})
    assert [one.model for one in config.declared] == [one.model for one in built_in.declared]
    changed = [one.model for one, was in zip(config.declared, built_in.declared, strict=True) if one != was]
    assert changed == ["gpt-4o"]


def test_a_bad_one_is_no_configuration(load_text: Load) -> None:
    own("models: {x: 5}")
    with pytest.raises(ConfigError):
        load_text("catalogue: my-models.yaml")
