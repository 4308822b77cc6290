"""The built-in catalogue says what PiAPI's documentation says, and where from."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib.resources import files

import pytest

from gateway.config import load, load_catalogue
from gateway.config.catalogue import FILE, builtin_layer
from gateway.config.environment import references
from gateway.config.problems import Problems
from gateway.core.images.flux_catalogue import InputRule
from gateway.core.types import CostClass

CREATOR_ONLY = {"gpt-4o", "claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514"}
MODELS = CREATOR_ONLY | {
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-3.5-turbo",
    "gpt-4-gizmo-*",
    "gpt-4o-image",
    "gpt-image-1",
    "gpt-image-1.5",
    "gpt-image-1-mini",
    "gpt-image-2",
    "gpt-image-2-preview",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.6-flare",
    "gpt-image-2.6-sunburst",
    "nano-banana-2",
    "nano-banana-pro",
    "seedream-5-lite",
    "qwen-image",
    "qwen-image-edit",
    "z-image",
    "image-01",
    "image-toolkit",
    "Qubico/flux1-schnell",
    "Qubico/flux1-dev",
    "Qubico/flux1-dev-advanced",
}
OF_TODAY = {
    "gpt-6.2-astra",
    "gpt-6.2-sol",
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "gpt-6-luna",
    "gpt-6-sol",
    "gpt-6-astra",
    "gpt-5.6-luna",
    "gpt-5.6-terra",
    "gpt-5.6-sol",
    "gpt-5.5",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.4-nano",
    "gpt-5.2",
    "gpt-5.1",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "chat-latest",
    "gpt-4o-2024-05-13",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "gemini-2.5-flash-nothinking",
}
"""Their prices: test_catalogue_today.py."""
ALIASES = {
    "flux-schnell",
    "flux-dev",
    "flux-dev-advanced",
    "flux-kontext",
    "flux-fill",
    "flux-outpaint",
    "flux-redux",
}
LORAS = [
    "anime",
    "art",
    "disney",
    "furry",
    "mjv6",
    "realism",
    "scenery",
    "collage-artstyle",
    "creepcute",
    "cyberpunk-anime-style",
    "deco-pulse",
    "deep-sea-particle-enhencer",
    "faetastic-details",
    "fractal-geometry",
    "galactixy-illustrations-style",
    "geometric-woman",
    "graphic-portrait",
    "mat-miller-art",
    "moebius-style",
    "ob3d-isometric-3d-room",
    "paper-quilling-and-layering-style",
    "remes-abstract-poster-style",
]
CONTROLS = ["depth", "soft_edge", "canny", "openpose"]
TASK_TYPES = {
    "txt2img",
    "img2img",
    "txt2img-lora",
    "img2img-lora",
    "controlnet-lora",
    "fill-inpaint",
    "fill-outpaint",
    "redux-variation",
    "kontext",
}
PIAPI_PRICES = {
    "gpt-4o": ("1.875", "7.5"),
    "gpt-4o-mini": ("0.1125", "0.45"),
    "gpt-4.1": ("1.5", "6"),
    "gpt-4.1-mini": ("0.3", "1.2"),
    "gpt-4.1-nano": ("0.075", "0.3"),
    "claude-3-7-sonnet-20250219": ("2.25", "11.25"),
    "claude-sonnet-4-20250514": ("2.25", "11.25"),
}
FLUX_PRICES = {"Qubico/flux1-schnell": "0.002", "Qubico/flux1-dev": "0.015", "Qubico/flux1-dev-advanced": "0.02"}


RELAYED = {
    *("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002", "omni-moderation-latest"),
    *("tts-1", "tts-1-hd", "gpt-4o-mini-tts"),
    *("whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize", "gpt-4o-mini-transcribe"),
}
"""test_catalogue_relayed.py has their prices."""

ALL_FACTORS = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}


def nano(usd: str) -> int:
    return int(Decimal(usd) * 10**9)


@pytest.fixture
def routes():
    config = load(None, {"PIAPI_API_KEY": "one", "BACKUP_API_KEY": "two"})
    return {route.model: route for route in config.routes}


def test_every_model_is_there_and_no_other(routes):
    assert routes.keys() == MODELS | OF_TODAY | ALIASES | RELAYED


def test_every_target_says_where_its_price_is_from():
    for model, section in load_catalogue().models.items():
        for target in section.targets:
            assert target.source, model
            assert re.fullmatch(r"mid-2025|20\d\d-\d\d-\d\d", target.as_of or ""), model


def test_the_plan_a_model_needs_is_said():
    config = load(None, {})
    assert dict(config.plans) == dict.fromkeys(CREATOR_ONLY, "Creator Plan or above")
    assert all("PiAPI: Creator Plan or above" in r.notes for r in config.routes if r.model in CREATOR_ONLY)


@pytest.mark.parametrize("model", PIAPI_PRICES)
def test_chat_prices(routes, model):
    price = routes[model].targets[0].price
    assert (price.input, price.output) == tuple(nano(usd) for usd in PIAPI_PRICES[model])
    assert (price.cached_input, price.minimum) == (None, 0)
    assert routes[model].targets[0].cost_class is CostClass.TOKENS


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"])
def test_piapi_takes_three_quarters_of_what_the_backup_takes(routes, model):
    piapi, backup = routes[model].targets
    assert (piapi.upstream.name, backup.upstream.name) == ("piapi", "backup")
    assert piapi.price.input * 4 == backup.price.input * 3
    assert piapi.price.output * 4 == backup.price.output * 3
    assert 0 < backup.price.cached_input < backup.price.input


def test_what_has_no_known_price_says_so(routes):
    assert routes["gpt-4-gizmo-*"].targets[0].price is None
    assert routes["gpt-3.5-turbo"].targets[0].price is None


def test_claude_has_no_backup(routes):
    assert [target.upstream.name for target in routes["claude-sonnet-4-20250514"].targets] == ["piapi"]


def test_images_over_chat_and_their_backup(routes):
    piapi, backup = routes["gpt-4o-image"].targets
    assert (piapi.operation, piapi.price.image, piapi.price.no_image) == ("chat", nano("0.02"), nano("0.00066"))
    assert piapi.cost_class is CostClass.PAID
    assert (backup.model, backup.operation) == ("gpt-image-2.6-flare", "images")


def test_images_by_the_images_api(routes):
    piapi, gone, backup = routes["gpt-image-1"].targets
    assert (backup.upstream.name, backup.model) == ("backup", "gpt-image-2.6-flare")
    assert (piapi.shutdown, backup.shutdown) == ("", "")
    assert (gone.shutdown, gone.successor) == ("2026-10-23", "gpt-image-2.6-flare")
    for target in (piapi, gone):
        price = target.price
        assert target.operation == "images"
        assert (price.input, price.cached_input) == (nano("5"), nano("1.25"))
        assert (price.image_input, price.output) == (nano("10"), nano("40"))
        assert {(quality, size): usd for quality, sizes in price.table.items() for size, usd in sizes.items()} == {
            ("low", "1024x1024"): nano("0.011"),
            ("low", "1024x1536"): nano("0.016"),
            ("low", "1536x1024"): nano("0.016"),
            ("medium", "1024x1024"): nano("0.042"),
            ("medium", "1024x1536"): nano("0.063"),
            ("medium", "1536x1024"): nano("0.063"),
            ("high", "1024x1024"): nano("0.167"),
            ("high", "1024x1536"): nano("0.25"),
            ("high", "1536x1024"): nano("0.25"),
        }


@pytest.mark.parametrize(
    ("model", "upstream", "operation", "amounts", "factors"),
    [
        ("gpt-image-2", "piapi", "images", ("5", "8", "30"), {"low": 16, "medium": 48, "high": 96}),
        ("gpt-image-2", "backup", "images", ("5", "8", "30"), {"low": 16, "medium": 48, "high": 96}),
        ("gpt-image-2.5-flare", "piapi", "images_async", ("3.75", "6", "22.5"), {"low": 16, "medium": 24, "high": 48}),
        (
            "gpt-image-2.5-sunburst",
            "piapi",
            "images_async",
            ("3.75", "6", "22.5"),
            {"low": 16, "medium": 24, "high": 48},
        ),
        ("gpt-image-2.5-flare", "backup", "images", ("5", "8", "30"), ALL_FACTORS),
        ("gpt-image-2.6-flare", "backup", "images", ("5", "8", "30"), {**ALL_FACTORS, "low": 48, "medium": 48}),
        ("gpt-image-2.6-sunburst", "backup", "images", ("5", "8", "30"), {**ALL_FACTORS, "low": 48, "medium": 48}),
    ],
)
def test_gpt_images_of_today(routes, model, upstream, operation, amounts, factors):
    [target] = [one for one in routes[model].targets if one.upstream.name == upstream]
    assert (target.operation, target.model, target.cost_class) == (operation, model, CostClass.PAID)
    price = target.price
    assert (price.input, price.image_input, price.output) == tuple(nano(usd) for usd in amounts)
    assert price.picture_tokens == factors
    assert price.table == {}


def test_piapi_takes_three_quarters_for_its_asynchronous_pictures(routes):
    piapi, backup = (target.price for target in routes["gpt-image-2.5-flare"].targets)
    for field in ("input", "image_input", "output"):
        assert getattr(piapi, field) * 4 == getattr(backup, field) * 3


@pytest.mark.parametrize(
    ("model", "asked", "dearest", "types"),
    [
        ("nano-banana-2", "gemini", "0.12", ["nano-banana-2"]),
        ("nano-banana-pro", "gemini", "0.18", ["nano-banana-pro"]),
        ("seedream-5-lite", "seedream", "0.052", ["seedream-5-lite"]),
        ("qwen-image", "Qubico/qwen-image", "0.025", ["txt2img", "image-edit"]),
        ("qwen-image-edit", "Qubico/qwen-image", "0.025", ["image-edit"]),
        ("z-image", "Qubico/z-image", "0.008", ["txt2img"]),
        ("image-01", "minimax", "0.01", ["image-01"]),
        (
            "image-toolkit",
            "Qubico/image-toolkit",
            None,
            ["background-remove", "upscale", "face-swap", "multi-face-swap"],
        ),
    ],
)
def test_task_models_are_described(routes, model, asked, dearest, types):
    (target,) = routes[model].targets
    assert (target.upstream.name, target.operation, target.model) == ("piapi", "task", asked)
    assert (target.price and target.price.image) == (dearest and nano(dearest))
    assert list(target.tasks) == types


@pytest.mark.parametrize("model", sorted(ALIASES) + sorted(FLUX_PRICES))
def test_flux_models_are_tasks_under_piapis_names(routes, model):
    (target,) = routes[model].targets
    assert (target.upstream.name, target.operation) == ("piapi", "task")
    assert target.price.image == nano(FLUX_PRICES[target.model])


class TestFlux:
    facts = load_catalogue().flux

    def test_names_are_spelled_as_piapis_json_spells_them(self):
        assert list(self.facts.loras) == LORAS
        assert list(self.facts.controls) == CONTROLS

    def test_task_types_and_who_does_them(self):
        assert self.facts.task_types.keys() == TASK_TYPES
        assert self.facts.models == tuple(FLUX_PRICES)
        for name, task in self.facts.task_types.items():
            everybody = name in ("txt2img", "img2img")
            assert task.models == (self.facts.models if everybody else ("Qubico/flux1-dev-advanced",)), name

    def test_how_many_loras_and_controls_a_task_takes(self):
        capacities = {name: (task.loras, task.controls) for name, task in self.facts.task_types.items()}
        assert capacities.pop("txt2img-lora") == ((1, 1), (0, 0))
        assert capacities.pop("img2img-lora") == ((1, 1), (0, 0))
        assert capacities.pop("controlnet-lora") == ((0, 1), (1, 1))
        assert set(capacities.values()) == {((0, 0), (0, 0))}

    def test_limits_of_the_inputs(self):
        txt2img, kontext = self.facts.task_types["txt2img"].inputs, self.facts.task_types["kontext"].inputs
        assert txt2img["guidance_scale"] == InputRule("number", minimum=1.5, maximum=5)
        assert txt2img["denoise"] == InputRule("number", default=0.7, above=0, maximum=1)
        assert txt2img["batch_size"] == InputRule(
            "integer", default=1, minimum=1, maximum=4, models=("Qubico/flux1-schnell",)
        )
        assert (self.facts.max_pixels, self.facts.max_added_pixels) == (1024 * 1024, 1024 * 1024 - 1)
        assert kontext["steps"] == InputRule("integer", default=28, minimum=1, maximum=40)
        assert (kontext["height"].default, kontext["seed"].default) == (1024, -1)
        takers = {name for name, task in self.facts.task_types.items() if "width" in task.inputs}
        assert takers == {"txt2img", "kontext"}

    def test_which_tasks_need_an_image(self):
        needy = {
            n for n, task in self.facts.task_types.items() if task.inputs.get("image", InputRule("image")).required
        }
        assert needy == TASK_TYPES - {"txt2img", "txt2img-lora", "controlnet-lora"}
        assert all(task.inputs["prompt"].required for task in self.facts.task_types.values())

    def test_short_names_stand_for_task_types(self):
        assert self.facts.aliases.keys() <= ALIASES
        assert set(self.facts.aliases.values()) <= TASK_TYPES


def test_the_models_are_read_once_as_no_variable_changes_them() -> None:
    first, second = (builtin_layer(environ, {}, Problems()) for environ in ({}, {"PIAPI_API_KEY": "sk-piapi-00112233"}))

    assert not references(files("gateway").joinpath(FILE).read_text(encoding="utf-8").partition("\nmodels:")[2])
    assert first.sections.models["gpt-4o"] is second.sections.models["gpt-4o"]
    assert first.sections.upstreams != second.sections.upstreams


def test_what_a_reader_of_the_catalogue_changes_does_not_reach_the_next_one() -> None:
    before = builtin_layer({}, {}, Problems())
    positions = dict(before.document.values)
    before.document.values.clear()
    before.document.keys.clear()
    before.document.broken.add(("models", "gpt-4o"))

    after = builtin_layer({}, {}, Problems())

    assert after.document.values == positions
    assert after.document.keys
    assert not after.document.is_broken(("models", "gpt-4o"))
