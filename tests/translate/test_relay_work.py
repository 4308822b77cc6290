"""What a relayed request is reserved for and estimated at: what is charged never comes to more than the bound."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing.cost_bound import cost_bound
from gateway.core.pricing.prices import amount_due
from gateway.core.types import Price, Target, Upstream, Usage
from gateway.translate.relay_work import believed, count_inputs, likely_usage, most_work, rough_input
from gateway.translate.responses_relay import RESPONSES
from gateway.wire.form_data import Form, FormFile
from gateway.wire.relay_request import RelayRequest, parse_document, parse_relayed_form
from gateway.wire.relay_routes import COMPLETIONS, EMBEDDINGS, MODERATIONS, SPEECH, TRANSCRIPTIONS, RelayRoute
from tests.e2e.relays import recording

UPSTREAM = Upstream("backup", "openai", (), ())


def asked(route: RelayRoute, **fields: Any) -> RelayRequest:
    document = {"model": "m", **fields}
    return parse_document(route, document, len(json.dumps(document, ensure_ascii=False).encode()), {})


def recorded(data: bytes, **fields: str) -> RelayRequest:
    form = Form([("model", "m"), *fields.items()], [FormFile("file", "audio/wav", data, "wav")])
    return parse_relayed_form(TRANSCRIPTIONS, form, len(data) + 300, {})


def words(text: str) -> int:
    return len(text.encode("utf-8", "replace"))  # as many tokens as there can be


def bound_of(request: RelayRequest, price: Price, **limits: int | None) -> int:
    limits = {"context": None, "max_output": None, **limits}
    work = most_work(request, context=limits["context"], max_output=limits["max_output"])
    bound = cost_bound((Target(UPSTREAM, "m", request.route.operation, price),), work)
    assert bound is not None
    return bound


texts = st.text(max_size=200)
tokens = st.lists(st.integers(0, 200_000), min_size=1, max_size=50)


@given(texts | st.lists(texts, max_size=5) | tokens | st.lists(tokens, max_size=5))
def test_the_input_of_embeddings_is_no_more_tokens_than_bytes(given_input: Any) -> None:
    price = Price(input=20_000_000)
    for route in (EMBEDDINGS, MODERATIONS):
        request = asked(route, input=given_input)
        likely = likely_usage(request, price, words, 0, 0, whole=True)
        due = amount_due(price, likely, operation=route.operation)
        assert due is not None
        assert due <= bound_of(request, price)


@given(
    st.text(max_size=300),
    st.integers(1, 4),
    st.none() | st.integers(0, 500),
    st.sampled_from([Price(input=10**9, output=2 * 10**9), Price(input=1, output=1, minimum=5)]),
)
def test_a_completion_writes_no_more_than_it_may(prompt: str, n: int, most: int | None, price: Price) -> None:
    request = asked(COMPLETIONS, prompt=[prompt, prompt], n=n, max_tokens=most)
    written = 2 * n * (32_768 if most is None else most)
    stated = Usage(2 * words(prompt), 0, written)
    assert (amount_due(price, stated) or 0) <= bound_of(request, price)


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"prompt": "a"}, 32_768),
        ({"prompt": "a", "max_tokens": 10}, 10),
        ({"prompt": ["a", "b", "c"], "max_tokens": 10}, 30),
        ({"prompt": [1, 2, 3], "max_tokens": 10}, 10),
        ({"prompt": [[1], [2]], "max_tokens": 10, "n": 2, "best_of": 5}, 100),
        ({"max_tokens": 0}, 0),
    ],
)
def test_the_output_of_completions(fields: dict[str, Any], output: int) -> None:
    assert most_work(asked(COMPLETIONS, **fields), context=None, max_output=None).output_tokens == output


@given(st.text(min_size=1, max_size=500), st.integers(0, 100_000), st.booleans())
def test_a_text_that_is_read_aloud_costs_its_characters_at_most(text: str, received: int, whole: bool) -> None:
    price = Price(characters=15_000_000_000)
    request = asked(SPEECH, input=text, voice="alloy")
    likely = likely_usage(request, price, words, 0, received, whole=whole)
    due = amount_due(price, likely, operation="speech")
    assert due is not None
    assert due <= bound_of(request, price) == len(text) * 15_000


@given(st.text(min_size=1, max_size=500))
def test_sound_by_tokens_is_within_its_bound(text: str) -> None:
    price = Price(input=600_000_000, output=12_000_000_000)
    request = asked(SPEECH, input=text, voice="alloy", instructions="slowly")
    likely = likely_usage(request, price, lambda one: max(1, len(one) // 4), 0, 0, whole=True)
    due = amount_due(price, likely, operation="speech")
    assert due is not None
    assert due <= bound_of(request, price)


@pytest.mark.parametrize("price", [Price(seconds=100_000), Price(input=10**9, audio_input=6 * 10**9, output=10**10)])
@given(seconds=st.floats(0.1, 90), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_a_recording_costs_no_more_than_its_bytes_can_play(price: Price, seconds: float, rate: int) -> None:
    request = recorded(recording(seconds, rate))
    likely = likely_usage(request, price, words, 50, 0, whole=True)
    due = amount_due(price, likely, operation="transcriptions")
    assert due is not None
    assert due <= bound_of(request, price)
    billed = Usage(audio_milliseconds=int(-(-seconds // 1)) * 1000)
    if price.seconds is not None:
        assert (amount_due(price, billed, operation="transcriptions") or 0) <= bound_of(request, price)


def test_no_more_is_reserved_than_the_models_window() -> None:
    price = Price(input=10**9, output=10**10)
    long = recorded(bytes(25 << 20))
    assert bound_of(long, price, context=16_000) == 16_000 * 1_000 + 16_000 * 10_000
    assert bound_of(long, price, context=16_000, max_output=2_000) == 16_000 * 1_000 + 2_000 * 10_000
    assert bound_of(long, price) > 10**9


def test_what_is_broken_off_is_paid_for_in_part() -> None:
    price, request = Price(characters=10**9), asked(SPEECH, input="a" * 1000, response_format="wav")
    for received, characters in ((0, 1000), (3_000, 1), (1_500_000, 500), (10**9, 1000)):
        assert likely_usage(request, price, words, 0, received, whole=False).characters == characters


@pytest.mark.parametrize(
    ("given_input", "counted"),
    [("abc", 3), (["ab", "c"], 3), ([1, 2, 3], 3), ([[1], [2, 3]], 3), (None, 0), ([{"a": 1}], 7), ([["ab"], "c"], 3)],
)
def test_inputs_of_any_form_are_counted(given_input: Any, counted: int) -> None:
    assert count_inputs(given_input, len) == counted


def test_many_texts_are_counted_as_one() -> None:
    assert count_inputs(["a"] * 100_000, len) == 199_999


@pytest.mark.parametrize(
    ("usage", "is_believed"),
    [
        (Usage(100, 0, 100), True),
        (Usage(40_000), False),
        (Usage(0, 0, 40_000), False),
        (Usage(audio_milliseconds=10_000), True),
        (Usage(audio_milliseconds=10**9), False),
        (None, False),
    ],
)
def test_what_the_bytes_do_not_allow_is_not_believed(usage: Usage | None, is_believed: bool) -> None:
    assert (believed(usage, recorded(recording(1, 1_000)), 200) is not None) == is_believed


def test_the_limit_of_tokens_goes_by_a_quick_guess() -> None:
    assert rough_input(asked(EMBEDDINGS, input="a" * 400)) > 100
    assert rough_input(recorded(recording(60))) == 610


@pytest.mark.parametrize(
    ("fields", "inputs", "calls"),
    [
        ({"input": "a" * 100}, 700, 0),
        ({"input": "a", "tools": [{"type": "function", "name": "f"}]}, 2_000, 0),
        ({"input": "a", "previous_response_id": "resp_1"}, 128_000, 0),
        ({"input": "a", "conversation": "conv_1"}, 128_000, 0),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, 128_000, 0),
        ({"input": "a", "tools": [{"type": "web_search"}]}, 128_000, 10),
        ({"input": "a", "tools": [{"type": "web_search"}], "max_tool_calls": 3}, 128_000, 3),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]}]}, 6_000, 0),
    ],
)
def test_the_most_of_a_relayed_response(fields: dict[str, Any], inputs: int, calls: int) -> None:
    work = most_work(asked(RESPONSES, **fields), context=128_000, max_output=1_000)
    assert work.input_tokens <= inputs
    assert work.input_tokens == inputs or inputs < 128_000
    assert (work.output_tokens, work.asked.calls) == (1_000, calls)
    bounded = most_work(asked(RESPONSES, **fields, max_output_tokens=10), context=None, max_output=1_000)
    assert bounded.output_tokens == 10
