"""What a name means: the model that it contains whole, however clients write around it, and never another."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.model_names import ModelNames, NameMatch, after_vendor, allowed, allowed_as_asked
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Price, Route
from tests.core.builders import backup, target, upstream

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "claude-3-7-sonnet-20250219",
    "Qubico/flux1-dev",
    "Exact",
    "exact",
    "latest",
    "-latest",
)
ALIASES = {"claude-3-7-sonnet": "claude-3-7-sonnet-20250219", "our-best": "gpt-4o", "gpt-4o-mini": "gpt-4o"}
NAMES = ModelNames(MODELS, ALIASES)


def meant(name: str) -> str | None:
    found = NAMES.match(name)
    return None if found is None else found.model


@pytest.mark.parametrize(
    ("name", "model"),
    [
        # itself
        *((one, one) for one in MODELS),
        # an alias, unless a model has that name
        ("our-best", "gpt-4o"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        # a vendor's prefix
        ("openai/gpt-4o", "gpt-4o"),
        ("azure/gpt-4o", "gpt-4o"),
        ("openai/our-best", "gpt-4o"),
        ("anthropic/claude-3-7-sonnet", "claude-3-7-sonnet-20250219"),
        ("~anthropic/claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("models/gpt-4o", "gpt-4o"),
        ("piapi/Qubico/flux1-dev", "Qubico/flux1-dev"),
        ("a/b/gpt-4o", None),
        ("/gpt-4o", None),
        ("openai/", None),
        ("openai/gpt-4o/", None),
        ("open ai/gpt-4o", None),
        ("other/flux1-dev", None),
        # a date
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-20240806", "gpt-4o"),
        ("gpt-4o@20240806", "gpt-4o"),
        ("gpt-4o@2024-08-06", "gpt-4o"),
        ("gpt-4o-latest", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("our-best-2026-01-01", "gpt-4o"),
        ("claude-3-7-sonnet-20260101", "claude-3-7-sonnet-20250219"),
        ("claude-3-7-sonnet-20250219-2025-02-19", "claude-3-7-sonnet-20250219"),
        ("Qubico/flux1-dev-2025-01-01", "Qubico/flux1-dev"),
        ("gpt-4o-2024-13-06", None),
        ("gpt-4o-2024-08-32", None),
        ("gpt-4o-2024-08-00", None),
        ("gpt-4o-202408-06", None),
        ("gpt-4o-1999-08-06", None),
        ("gpt-4o-2024-08-06-2024-08-06", None),
        ("gpt-4o2024-08-06", None),
        ("gpt-4o-0806", None),
        ("gpt-4o-2508", None),
        ("gpt-4o-preview", None),
        ("gpt-4o-audio-preview-2024-10-01", None),
        ("chatgpt-4o-latest", None),
        ("-2024-08-06", None),
        ("2024-08-06", None),
        # both
        ("openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("piapi/Qubico/flux1-dev-latest", "Qubico/flux1-dev"),
        # any case, where it is clear
        ("GPT-4o", "gpt-4o"),
        ("OpenAI/GPT-4O-Mini-2024-07-18", "gpt-4o-mini"),
        ("qubico/FLUX1-dev", "Qubico/flux1-dev"),
        ("EXACT", None),
        ("openai/Exact", "Exact"),
        ("openai/EXACT", None),
        # nothing
        ("", None),
        ("gpt-4", None),
        ("gpt-4o ", None),
        ("gpt-4ö", None),
        ("ﬁ", None),
        ("gpt-4o-turbo", None),
        ("xgpt-4o", None),
        ("gpt-4o:free", None),
    ],
)
def test_a_name_means_the_model_it_contains_whole(name: str, model: str | None) -> None:
    assert meant(name) == model
    assert NAMES.own(name) == (name if model is None else model)


def test_where_the_models_name_stands() -> None:
    assert NAMES.match("openai/gpt-4o-2024-08-06") == NameMatch("gpt-4o", 7, 13)
    assert NAMES.match("gpt-4o") == NameMatch("gpt-4o", 0, 6)


_LETTERS = st.text("gpto4/-@ae.20156*é", max_size=24)
_BUILT = st.builds(
    lambda vendor, model, date: vendor + model + date,
    st.sampled_from(["", "openai/", "a/b/", "~x/", "/", "Qubico/"]),
    st.sampled_from([*MODELS, *ALIASES]) | _LETTERS,
    st.sampled_from(["", "-2024-08-06", "@20240806", "-latest", "-preview", "-2024-08-06-latest"]),
)


@given(st.text(max_size=40) | _BUILT)
def test_it_never_raises_is_its_own_meaning_and_is_contained_in_the_name(name: str) -> None:
    found = NAMES.match(name)
    if found is None:
        return
    assert found.model in MODELS
    assert meant(found.model) == found.model
    written = name[found.start : found.end].lower()
    assert written in {one.lower() for one in (found.model, *(a for a, of in ALIASES.items() if of == found.model))}


@given(st.sets(_BUILT.filter(bool), min_size=1, max_size=8), _BUILT)
def test_a_models_own_name_always_means_that_model(models: set[str], alias: str) -> None:
    names = ModelNames(models, {alias: next(iter(models))})
    assert all(names.own(model) == model for model in models)


@pytest.mark.parametrize("name", ["-2024" * 50_000, "a/" * 100_000, "-latest" * 30_000, "~" * 200_000, "@2" * 100_000])
def test_a_long_name_takes_no_longer_than_it_is(name: str) -> None:
    began = time.process_time()
    NAMES.match(name)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("name", "start"),
    [("openai/gpt-4o", 7), ("gpt-4o", 0), ("a/b/c", 2), ("/x", 0), ("x/", 0), ("~a/b", 3), ("ä/b", 0)],
)
def test_where_a_vendors_prefix_ends(name: str, start: int) -> None:
    assert after_vendor(name) == start


def routes(*models: str, aliases: dict[str, tuple[str, ...]] | None = None) -> RouteTable:
    made = [Route(model, (target(upstream(), model),), aliases=(aliases or {}).get(model, ())) for model in models]
    return RouteTable(made, default_route=(upstream(), backup()))


class TestWithRoutesThatEndInAStar:
    def found(self, table: RouteTable, name: str) -> tuple[str, str] | None:
        route = table.find(name)
        return None if route is None else (route.model, route.targets[0].model)

    def test_the_meant_model_comes_before_a_pattern_that_says_less(self) -> None:
        table = routes("gpt-4o", "gpt-*", "*")
        assert self.found(table, "gpt-4o-2024-08-06") == ("gpt-4o", "gpt-4o")
        assert self.found(table, "openai/gpt-4o") == ("gpt-4o", "gpt-4o")
        assert self.found(table, "GPT-4o") == ("gpt-4o", "gpt-4o")
        assert self.found(table, "gpt-5") == ("gpt-*", "gpt-5")
        assert self.found(table, "other") == ("*", "other")

    def test_a_pattern_that_says_more_comes_first(self) -> None:
        table = routes("gpt-4o", "gpt-4o-*", "openai/*")
        assert self.found(table, "gpt-4o-2024-08-06") == ("gpt-4o-*", "gpt-4o-2024-08-06")
        assert self.found(table, "openai/gpt-4o") == ("openai/*", "openai/gpt-4o")
        assert self.found(table, "azure/gpt-4o") == ("gpt-4o", "gpt-4o")

    def test_a_vendors_prefix_stands_before_members_of_a_pattern_too(self) -> None:
        assert self.found(routes("gpt-4o", "gizmo-*"), "openai/gizmo-7") == ("gizmo-*", "gizmo-7")
        assert self.found(routes("gizmo-*"), "openai/gizmo-") is None
        assert self.found(routes("gizmo-*"), "openai/gizmo-*") is None

    def test_a_task_is_found_behind_a_vendors_prefix(self) -> None:
        assert routes("gpt-4o").of_task("piapi/gpt-4o", "none") is None


class TestWhatAKeyMayUse:
    @pytest.mark.parametrize(
        ("patterns", "asked", "may"),
        [
            (["*"], "openai/gpt-4o", True),
            (["gpt-4o*"], "openai/gpt-4o", True),
            (["gpt-4o*"], "gpt-4o-2024-08-06", True),
            (["gpt-4o"], "gpt-4o-2024-08-06", True),
            (["gpt-4o"], "GPT-4O", True),
            (["gpt-4o-2024-08-06"], "gpt-4o-2024-08-06", True),
            (["gpt-4o-2024*"], "gpt-4o-2024-08-06", True),
            (["openai/gpt-4o"], "openai/gpt-4o", True),
            (["openai/gpt-4*"], "openai/gpt-4o", True),
            (["openai/*"], "openai/gpt-4o", True),
            (["anthropic/*"], "anthropic/claude-opus", True),
            (["~anthropic/*"], "~anthropic/claude-opus", True),
            # what only a client wrote opens nothing
            (["openai/*"], "openai/claude-opus", False),
            (["gpt-4o*"], "gpt-4o/claude-opus", False),
            (["gpt-4o*"], "gpt-4o-x/claude-opus-2026-01-01", False),
            (["g*"], "g/claude-opus", False),
            (["acme/*"], "acme/claude-opus", False),
            (["gpt-4o"], "gpt-4o-mini-2024-07-18", False),
            (["gpt-4o-2024-08-06"], "gpt-4o-2024-05-13", False),
            (["gpt-4o-mini"], "gpt-4o", False),
            ([], "openai/gpt-4o", False),
            # an alias is the operator's own word
            (["best"], "best", True),
            (["be*"], "best", True),
            (["best"], "claude-opus", False),
            (["claude-opus"], "best", True),
            (["best"], "acme/best-2026-01-01", True),
            (["acme/*"], "acme/best", False),
            # not listed: by the name as it is
            (["gpt-7*"], "gpt-7-nova", True),
            (["gpt-4o*"], "gpt-7-nova", False),
            (["openai/*"], "openai/gpt-7-nova", True),
            (["openai/gpt-7*"], "openai/gpt-7-nova", True),
            (["openai/gpt-7-nova"], "openai/gpt-7-nova", True),
            (["*"], "openai/gpt-7-nova", True),
            # and what only a client wrote before it opens nothing here either
            (["gpt-4o*"], "gpt-4o/gpt-7-nova", False),
            (["gpt-4o*"], "gpt-4o-mini/claude-9", False),
            (["gpt-4o*"], "gpt-4o/a/b", False),
            (["gpt-4o*"], "gpt-4o-mini/", True),
            (["g*"], "g/claude-9-2026-01-01", False),
        ],
    )
    def test_by_the_models_own_name_or_the_operators(self, patterns: list[str], asked: str, may: bool) -> None:
        table = routes("gpt-4o", "gpt-4o-mini", "claude-opus", aliases={"claude-opus": ("best",)})
        route = table.find(asked) or table.unlisted(asked)
        assert route is not None
        assert table.may_use(patterns, asked, route) is may

    @given(
        st.lists(st.sampled_from(["gpt-4o*", "gpt-4o", "g*", "gpt*", "gpt-4o-mini*", "x/*", "a*"]), max_size=3),
        st.text("abgpt4o-./~@", max_size=12),
    )
    def test_no_prefix_opens_another_model(self, patterns: list[str], vendor: str) -> None:
        table = routes("gpt-4o", "gpt-4o-mini", "claude-opus")
        asked = f"{vendor}/claude-opus"
        route = table.find(asked)
        if route is not None:
            assert not table.may_use(patterns, asked, route)

    def test_plain_patterns(self) -> None:
        assert allowed(["a*"], "ab")
        assert not allowed_as_asked(["*"], "x", "y")


class TestUnlisted:
    def test_is_asked_of_the_default_route_by_its_own_name(self) -> None:
        table = routes("gpt-4o")
        assert table.find("gpt-7-nova") is None
        route = table.unlisted("gpt-7-nova")
        assert route is not None
        assert (route.model, route.named, route.max_output) == ("gpt-7-nova", "gpt-7-nova", None)
        assert [(one.upstream.name, one.model, one.operation, one.price) for one in route.targets] == [
            ("piapi", "gpt-7-nova", "chat", None),
            ("backup", "gpt-7-nova", "chat", None),
        ]

    @pytest.mark.parametrize("name", ["", "*", "gpt-*"])
    def test_is_nothing_that_is_no_name(self, name: str) -> None:
        assert routes("gpt-4o").unlisted(name) is None

    def test_is_nothing_without_a_default_route(self) -> None:
        assert RouteTable([]).unlisted("gpt-7-nova") is None

    def test_has_the_price_that_a_list_knows(self) -> None:
        price = Price(input=1, output=2)
        table = RouteTable(
            [],
            default_route=(upstream(), backup()),
            list_price=lambda at, model: price if (at.name, model) == ("backup", "gpt-7-nova") else None,
        )
        route = table.unlisted("gpt-7-nova")
        assert route is not None
        assert [one.price for one in route.targets] == [None, price]
