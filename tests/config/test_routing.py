"""Where requests begin, and what is kept for equal ones: as the file says it, for all models and for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.config.changes import changes
from gateway.core.errors import ConfigError
from gateway.core.route_rules import CacheRules, RouteRules
from gateway.core.types import Route

KEY = {"PIAPI_API_KEY": "sk-for-tests"}


def read(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, KEY)


def route(config: Config, model: str) -> Route:
    return next(one for one in config.routes if one.model == model)


def test_the_usual(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert config.routing.learn
    assert config.routing.half_life == 7 * 86400
    assert config.routing.prefer == "order"
    assert {one.rules for one in config.routes} == {RouteRules()}


def test_a_built_in_model_gets_rules_and_keeps_its_targets_and_all_else(tmp_path: Path) -> None:
    usual = route(read(tmp_path, ""), "gpt-4o-image")
    ruled = route(
        read(tmp_path, "models: {gpt-4o-image: {routing: {prefer: cost}, cache: {ttl: 5m, max: 1MiB, share: team}}}"),
        "gpt-4o-image",
    )
    assert ruled.rules == RouteRules("cost", CacheRules(300.0, 1 << 20, "team"))
    assert ruled.targets == usual.targets
    assert (ruled.aliases, ruled.context, ruled.max_output, ruled.notes) == (
        usual.aliases,
        usual.context,
        usual.max_output,
        usual.notes,
    )


def test_an_empty_cache_section_is_a_cache_of_the_usual_size(tmp_path: Path) -> None:
    config = read(tmp_path, "models: {gpt-4o: {cache: {}}}")
    assert route(config, "gpt-4o").rules.cache == CacheRules(3600.0, 64 << 20)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("routing: {prefer: cheap}", "routing.prefer"),
        ("routing: {half_life: 0s}", "routing.half_life"),
        ("models: {gpt-4o: {routing: {prefer: fast}}}", "models.gpt-4o.routing.prefer"),
        ("models: {gpt-4o: {routing: {learn: true}}}", "models.gpt-4o.routing.learn"),
        ("models: {gpt-4o: {cache: {ttl: 0s}}}", "models.gpt-4o.cache.ttl"),
        ("models: {gpt-4o: {cache: {share: all}}}", "models.gpt-4o.cache.share"),
        ("models: {our-own: {cache: {ttl: 1h}}}", "models.our-own.targets: is missing"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    assert [problem in str(one) for one in refused.value.problems] == [True]


def test_a_reload_tells_what_changed(tmp_path: Path) -> None:
    old = read(tmp_path, "models: {gpt-4o: {cache: {ttl: 1h, max: 1MiB}}}")
    new = read(
        tmp_path,
        "routing: {learn: false, half_life: 1d, prefer: speed}\nmodels: {gpt-4o: {routing: {prefer: order}}}",
    )
    assert [one.text for one in changes(old, new)] == [
        "routing.learn: true -> false",
        "routing.half_life: 604800s -> 86400s",
        "routing.prefer: order -> speed",
        "models.gpt-4o: routing.prefer none -> order; cache 3600s in 1048576 bytes for one key -> none",
    ]
