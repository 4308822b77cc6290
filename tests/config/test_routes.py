"""How the file's upstreams and models lie over the built-in ones."""

from __future__ import annotations

from dataclasses import replace

from gateway.config import Config
from gateway.core.types import Price, Route

KEYS = {"PIAPI_API_KEY": "one", "BACKUP_API_KEY": "two"}


def route(config: Config, model: str) -> Route:
    (found,) = [route for route in config.routes if route.model == model]
    return found


class TestUpstreams:
    def test_what_is_left_out_stays_as_built_in(self, load_text):
        piapi = load_text("upstreams: {piapi: {timeouts: {head: 10s}}}", KEYS).upstreams["piapi"]
        assert [endpoint.host for endpoint in piapi.endpoints] == ["api.piapi.ai", "proxy.piapi.ai"]
        assert [key.value for key in piapi.credentials] == ["one"]
        assert (piapi.dialect, piapi.timeouts.head, piapi.timeouts.idle) == ("piapi", 10, 60)

    def test_lists_are_replaced_whole(self, load_text):
        text = "upstreams: {piapi: {endpoints: [{url: http://127.0.0.1:8499}], keys: [a, {name: b, value: c}]}}"
        piapi = load_text(text, KEYS).upstreams["piapi"]
        assert [endpoint.url for endpoint in piapi.endpoints] == ["http://127.0.0.1:8499"]
        assert [(key.name, key.value) for key in piapi.credentials] == [("key-1", "a"), ("b", "c")]

    def test_names_of_keys_do_not_move_when_another_one_is_empty(self, load_text):
        piapi = load_text("upstreams: {piapi: {keys: ['${NONE:-}', a]}}").upstreams["piapi"]
        assert [key.name for key in piapi.credentials] == ["key-2"]

    def test_an_empty_pool_switches_an_upstream_off(self, load_text):
        config = load_text("upstreams: {backup: {keys: []}}", KEYS)
        assert config.off == ("backup",)
        assert config.warnings == ("upstream 'backup' has no key and is off",)
        assert [target.upstream.name for target in route(config, "gpt-4o").targets] == ["piapi"]
        declared = {route.model: route for route in config.declared}
        assert [target.upstream.name for target in declared["gpt-4o"].targets] == ["piapi", "backup"]

    def test_a_model_without_any_usable_target_stays_known(self, load_text):
        config = load_text("upstreams: {piapi: {keys: []}}", KEYS)
        assert route(config, "claude-sonnet-4-20250514").targets == ()
        assert [target.upstream.name for target in route(config, "gpt-4o").targets] == ["backup"]

    def test_v1_which_is_added_to_every_path_may_stand_at_the_end(self, load_text):
        text = """
            upstreams:
              piapi: {endpoints: [{url: https://a.example/v1}, {url: https://b.example/}, {url: https://c.example/api/v1}]}
              backup: {endpoints: [{url: https://b.example/v1/, wall: 9s}, {url: https://b.example/proxy/v1}]}
            """
        upstreams = load_text(text, KEYS).upstreams
        assert [end.url for end in upstreams["piapi"].endpoints] == [
            *("https://a.example", "https://b.example", "https://c.example"),
        ]
        assert [(end.url, end.wall) for end in upstreams["backup"].endpoints] == [
            ("https://b.example", 9),
            ("https://b.example/proxy", None),
        ]


class TestModels:
    def test_an_override_replaces_all_targets_and_keeps_what_is_known(self, load_text):
        config = load_text("models: {gpt-4o: {targets: [{upstream: backup, price: {input: 1, output: 2}}]}}", KEYS)
        (target,) = route(config, "gpt-4o").targets
        assert (target.upstream.name, target.model) == ("backup", "gpt-4o")
        assert target.price == Price(input=1_000_000_000, output=2_000_000_000)
        assert route(config, "gpt-4o").notes == ("PiAPI: Creator Plan or above",)
        assert config.plans["gpt-4o"] == "Creator Plan or above"

    def test_other_models_stay(self, load_text):
        config = load_text("models: {gpt-4o: {targets: [{upstream: backup}]}}", KEYS)
        assert [target.upstream.name for target in route(config, "gpt-4o-mini").targets] == ["piapi", "backup"]

    def test_a_new_name_adds_a_model(self, load_text):
        config = load_text("models: {house: {notes: [ours], targets: [{upstream: piapi, model: gpt-4o}]}}", KEYS)
        assert config.routes[-1].model == "house"
        assert route(config, "house").notes == ("ours",)

    def test_a_price_left_out_is_the_built_in_one_of_the_same_thing(self, load_text):
        config = load_text(
            """
            models:
              cheap: {targets: [{upstream: piapi, model: gpt-4o-mini}]}
              gpt-4o-image: {targets: [{upstream: backup, model: gpt-image-1, operation: images}]}
              odd: {targets: [{upstream: piapi, model: gpt-4o-mini, operation: images}, {upstream: backup, model: new}]}
              free: {targets: [{upstream: piapi, model: gpt-4o-mini, price: {input: 0, output: 0}}]}
              unsaid: {targets: [{upstream: piapi, model: gpt-4o, price: {}}]}
            """,
            KEYS,
        )
        assert route(config, "cheap").targets[0].price == Price(input=112_500_000, output=450_000_000)
        image = route(config, "gpt-4o-image").targets[0].price
        assert image is not None
        assert image.table["high"]["1536x1024"] == 250_000_000
        assert [target.price for target in route(config, "odd").targets] == [None, None]
        assert route(config, "free").targets[0].price == Price(input=0, output=0)
        assert route(config, "unsaid").targets[0].price is None

    def test_a_pattern_is_its_targets_model_unless_one_is_named(self, load_text):
        config = load_text("models: {'o9-*': {targets: [{upstream: backup}, {upstream: piapi, model: x/o9-*}]}}", KEYS)
        assert [target.model for target in route(config, "o9-*").targets] == ["o9-*", "x/o9-*"]


class TestLongestAnswers:
    def test_the_built_in_models_say_how_much_they_can_write(self, load_text):
        config = load_text("", KEYS)
        known = {route.model: route.max_output for route in config.routes if route.max_output is not None}
        assert {name: most for name, most in known.items() if most != 128_000} == {
            "gpt-4o": 16_384,
            "gpt-4o-2024-05-13": 16_384,
            "gpt-4o-mini": 16_384,
            "gpt-4.1": 32_768,
            "gpt-4.1-mini": 32_768,
            "gpt-4.1-nano": 32_768,
            "claude-3-7-sonnet-20250219": 64_000,
            "claude-sonnet-4-20250514": 64_000,
            "gpt-3.5-turbo": 4096,
        }
        assert {route.model: route.max_output for route in config.declared if route.max_output} == known

    def test_an_entry_says_it_itself_or_the_built_in_one_of_its_name_does(self, load_text):
        config = load_text(
            """
            models:
              gpt-4o: {targets: [{upstream: backup, model: deployment-7}]}
              gpt-4o-mini: {max_output: 1000, targets: [{upstream: backup}]}
              house: {max_output: 8192, targets: [{upstream: piapi, model: gpt-4o}]}
            """,
            KEYS,
        )
        assert [route(config, name).max_output for name in ("gpt-4o", "gpt-4o-mini", "house")] == [16_384, 1000, 8192]

    def test_a_model_that_stands_in_for_another_may_write_more(self, load_text):
        config = load_text(
            """
            models:
              gpt-4o: {targets: [{upstream: piapi}, {upstream: backup, model: gpt-4.1}]}
              gpt-4.1: {targets: [{upstream: piapi, model: gpt-4o}]}
            """,
            KEYS,
        )
        assert [route(config, name).max_output for name in ("gpt-4o", "gpt-4.1")] == [32_768, 32_768]

    def test_a_new_name_takes_the_longest_of_its_targets_if_all_are_known(self, load_text):
        config = load_text(
            """
            models:
              cheap: {targets: [{upstream: piapi, model: gpt-4o-mini}, {upstream: backup, model: gpt-4.1-nano}]}
              mixed: {targets: [{upstream: piapi, model: gpt-4o-mini}, {upstream: backup, model: house-9}]}
            """,
            KEYS,
        )
        assert [route(config, name).max_output for name in ("cheap", "mixed")] == [32_768, None]

    def test_nonsense_is_reported(self, faults):
        text = "models: {gpt-4o: {max_output: 0, targets: [{upstream: backup}]}}"
        assert faults(text, KEYS) == [
            "config.yaml:1:31: models.gpt-4o.max_output: expected a whole number from 1 to 10000000"
        ]


class TestTasks:
    TARGET = "{upstream: piapi, model: gemini, operation: task}"

    def test_are_the_built_in_ones_of_the_same_name_where_they_are_left_out(self, load_text):
        config = load_text(f"models: {{nano-banana-pro: {{targets: [{self.TARGET}]}}}}", KEYS)
        (target,) = route(config, "nano-banana-pro").targets
        assert list(target.tasks) == ["nano-banana-pro"]
        assert target.price == Price(image=180_000_000)

    def test_are_the_first_built_in_ones_of_the_same_place_under_another_name(self, load_text):
        text = "models: {banana: {targets: [{upstream: piapi, model: Qubico/z-image, operation: task}]}}"
        (target,) = route(load_text(text, KEYS), "banana").targets
        assert list(target.tasks) == ["txt2img"]

    def test_have_the_dearest_of_their_prices_and_a_price_of_ones_own_wins(self, load_text):
        types = "tasks: {a: {fields: {p: {}}, price: {image: 0.1}}, b: {fields: {}, price: {values: {x: 0.3}, by: p}}}"
        types = types.replace(", by: p", "")
        text = "models: {m: {targets: [{upstream: piapi, operation: task, %s%s}]}}"
        assert route(load_text(text % (types, ""), KEYS), "m").targets[0].price == Price(image=300_000_000)
        own = ", price: {image: 0.5}"
        assert route(load_text(text % (types, own), KEYS), "m").targets[0].price == Price(image=500_000_000)

    def test_of_flux_stay_where_they_are(self, load_text):
        text = "models: {mine: {targets: [{upstream: piapi, model: Qubico/flux1-dev, operation: task}]}}"
        (target,) = route(load_text(text, KEYS), "mine").targets
        assert target.tasks == {}


class TestPricesThatAreGuesses:
    """A price that is low in confidence is an estimate, wherever it is taken from."""

    def test_by_their_own_word(self, load_text):
        text = "models: {m: {targets: [{upstream: backup, confidence: CONFIDENCE, price: {input: 1, output: 2}}]}}"
        for confidence, estimated in (("low", True), ("medium", False), ("high", False)):
            price = route(load_text(text.replace("CONFIDENCE", confidence), KEYS), "m").targets[0].price
            assert price == Price(input=1_000_000_000, output=2_000_000_000, estimated=estimated)

    def test_of_tasks(self, load_text):
        def price(text: str) -> Price | None:
            return route(load_text(text, KEYS), "seedream-5-lite").targets[0].price

        guess = Price(image=52_000_000, estimated=True)
        assert price("{}") == guess
        same = "models: {seedream-5-lite: {targets: [{upstream: piapi, model: seedream, operation: taskOWN}]}}"
        assert price(same.replace("OWN", "")) == guess
        assert price(same.replace("OWN", ", price: {image: 0.04}")) == Price(image=40_000_000)
        assert price(same.replace("OWN", ", confidence: high")) == replace(guess, estimated=False)


def test_a_target_may_have_an_end(load_text):
    text = "models: {m: {targets: [{upstream: backup, shutdown: 2027-01-14, successor: n}, {upstream: backup}]}}"
    ending, other = route(load_text(text, KEYS), "m").targets
    assert (ending.shutdown, ending.successor) == ("2027-01-14", "n")
    assert ending.ends_ns == 1_799_971_200 * 10**9
    assert (other.shutdown, other.ends_ns, other.successor) == ("", None, "")
