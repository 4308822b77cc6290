"""The chat route: a request becomes an operation, also for models that only make images; and what it may cost."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from gateway.core.errors import ClientError, GatewayError
from gateway.core.types import Price, Rewrites, Target, VirtualKey
from gateway.endpoints.chat import ChatEndpoint
from gateway.endpoints.chat_operation import ChatOperation, ChatWork
from gateway.images.operation import ImageOperation
from gateway.wire.chat_request import parse_chat_request
from tests.core.images.flux_orders import DEV, wish
from tests.exchange.fakes import Client, Clock
from tests.exchange.scripted import Response, play
from tests.exchange.stage import CHAT, CHAT_ELSEWHERE, PIAPI, Stage, paid
from tests.images.orders import FLUX, Presenter, desk
from tests.jobs.memory import waiting_on

from .gateway import admission, sent

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a bear"}]}
STREAM = ((b"content-type", b"text/event-stream"),)
TOKEN = Target(PIAPI, "gpt-4o", price=Price(input=1_000_000, output=1_000_000))
"""A nano-dollar for each token."""


def said(text: str) -> Response:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    return Response([(1, b"data: " + orjson.dumps(chunk) + b"\n\ndata: [DONE]\n\n")], end=1, headers=STREAM)


async def chat(stage: Stage, **fields: Any) -> Client:
    """What the client is told of a chat with these fields; the model stands for flux1-dev where it makes images."""
    stage.services.tokenizer = cast("Any", SimpleNamespace(count=len))
    door, _ = admission(stage)
    stage.set(image_orders=desk({"gpt-4o": DEV} if stage.route.targets[0] is FLUX else {}))
    await ChatEndpoint(door, waiting_on(stage.services))(sent(body=orjson.dumps({**ASKED, **fields})), stage.client)
    return stage.client


def test_a_chat_is_answered() -> None:
    async def story() -> None:
        client = await chat(Stage(said("a brown bear")))
        assert client.status == 200
        assert orjson.loads(client.body)["choices"][0]["message"]["content"] == "a brown bear"

    play(story)


def test_a_model_that_only_makes_images_takes_the_last_message_as_its_order() -> None:
    async def story() -> None:
        refusal = orjson.dumps({"code": 400, "message": "invalid", "data": None})
        page = Response([(0, refusal)], end=0, status=400, headers=((b"content-type", b"application/json"),))
        stage = Stage(page, targets=[FLUX])
        await chat(stage, guidance_scale=3)
        [asked] = stage.pool.asked
        sent = orjson.loads(asked["body"])
        assert (asked["path"], sent["model"]) == ("/api/v1/task", DEV)
        assert (sent["input"]["prompt"], sent["input"]["guidance_scale"]) == ("a bear", 3)

    play(story)


def test_a_field_that_the_gateway_acts_on_is_checked() -> None:
    async def story() -> None:
        stage = Stage(said("no"))
        with pytest.raises(ClientError) as refused:
            await chat(stage, n="two")
        assert (refused.value.status, refused.value.param, stage.asked) == (400, "n", [])

    play(story)


def test_a_field_that_it_does_not_know_is_the_upstreams_to_judge() -> None:
    async def story() -> None:
        stage = Stage(said("yes"))
        assert (await chat(stage, guidance_scale=3, temperature="hot")).status == 200
        [asked] = stage.pool.asked
        sent = orjson.loads(asked["body"])
        assert (sent["guidance_scale"], sent["temperature"]) == (3, "hot")

    play(story)


@pytest.mark.parametrize(
    ("name", "words"),
    [("guidence_scale", "Near it: guidance_scale"), ("temprature", "Near it: temperature"), ("zzz", "what is known")],
)
def test_an_order_for_an_image_is_made_of_known_fields(name: str, words: str) -> None:
    async def story() -> None:
        stage = Stage(targets=[FLUX])
        with pytest.raises(ClientError) as refused:
            await chat(stage, **{name: 3})
        error = refused.value
        assert (error.status, error.code, error.param) == (400, "unknown_parameter", name)
        assert words in error.message
        assert stage.asked == []

    play(story)


def test_an_order_for_an_image_does_without_what_chat_clients_send() -> None:
    async def story() -> None:
        refusal = orjson.dumps({"code": 400, "message": "invalid", "data": None})
        page = Response([(0, refusal)], end=0, status=400, headers=((b"content-type", b"application/json"),))
        stage = Stage(page, targets=[FLUX])
        odd = {"temperature": "hot", "tools": 5, "stop": {}, "logprobs": "x", "zzz": None, "provider": {"order": ["a"]}}
        client = await chat(stage, stream_options={"include_usage": True}, **odd)
        [asked] = stage.pool.asked
        assert orjson.loads(asked["body"])["input"]["prompt"] == "a bear"
        assert client.headers[b"x-gateway-note"] == b"ignored: provider"

    play(story)


@pytest.mark.parametrize("model", [None, 5, [], {}, "", True])
def test_a_model_of_any_shape_is_checked_before_it_is_looked_up(model: Any) -> None:
    async def story() -> None:
        stage = Stage(targets=[FLUX])
        with pytest.raises(ClientError) as refused:
            await chat(stage, model=model, steps=5)
        assert (refused.value.status, refused.value.param) == (400, "model")

    play(story)


SILENT = [
    {"role": "user", "content": "a bear"},
    {"role": "assistant", "content": "which?"},
    {"role": "user", "content": ""},
]
"""Its last message orders nothing."""


class TestAChatThatIsNoOrderForImages:
    def test_is_served_by_a_target_that_talks(self) -> None:
        async def story() -> None:
            stage = Stage(said("hello"), targets=[paid("images"), CHAT_ELSEWHERE])
            assert (await chat(stage, messages=SILENT)).status == 200
            assert stage.asked == ["api.openai.com"]

        play(story)

    def test_is_refused_where_no_target_talks(self) -> None:
        async def story() -> None:
            stage = Stage(targets=[paid("images")])
            with pytest.raises(ClientError) as refused:
                await chat(stage, messages=SILENT)
            assert (refused.value.status, stage.asked) == (400, [])

        play(story)


@pytest.mark.parametrize(("model", "models", "status"), [("gpt-5000", "*", 404), ("gpt-4o", "flux", 403)])
def test_a_model_must_be_there_and_allowed(model: str, models: str, status: int) -> None:
    async def story() -> None:
        stage = Stage(key=VirtualKey("alice", models=(models,)))
        with pytest.raises(GatewayError) as refused:
            await chat(stage, model=model)
        assert refused.value.status == status

    play(story)


def operation(
    images: ImageOperation | None = None, max_output: int | None = None, context: int | None = None, **fields: Any
) -> ChatOperation:
    request = parse_chat_request({**ASKED, **fields}, 400)
    work = ChatWork(request, len, Clock(), lambda data: data, max_output=max_output, context=context)
    asked = ChatOperation(work)
    if images is not None:
        asked.offer_images(images)
    return asked


class TestWhatAChatMayCost:
    @pytest.mark.parametrize(
        ("fields", "limit", "tokens"),
        [
            ({"max_tokens": 1000}, None, 1000),
            ({"max_tokens": 1000, "n": 3}, None, 3000),
            ({"max_tokens": 1000}, 600, 600),
            ({}, 600, 600),
            ({"max_tokens": 1000, "thinking": {"budget_tokens": 500}}, None, 1500),
            ({"max_tokens": 1000, "thinking": {"budget_tokens": "many"}}, None, 1000),
            ({"max_tokens": 1000, "reasoning": {"max_tokens": 500}}, None, 1500),
            ({"max_tokens": 1000, "google": {"thinking_config": {"thinking_budget": 500}}, "n": 2}, None, 3000),
            ({"max_tokens": 1000, "thinking": {"budget_tokens": 500}}, 1200, 1200),
            ({"max_tokens": 9, "prediction": "12345678"}, 9, 9 + 10),
        ],
    )
    def test_is_its_input_and_all_the_output_it_allows(
        self, fields: dict[str, Any], limit: int | None, tokens: int
    ) -> None:
        asked = operation(max_output=limit, **fields)
        assert asked.cost_bound(TOKEN, exact=False) == asked.rough_input_tokens() + tokens

    @pytest.mark.parametrize(
        ("rewrites", "fields", "tokens"),
        [
            (Rewrites((("max_tokens", "max_completion_tokens"),)), {"max_tokens": 100}, 100),
            (Rewrites((("max_tokens", "max_completion_tokens"),), ("stop",)), {"max_tokens": 100, "n": 2}, 200),
            (Rewrites(drops=("max_tokens",)), {"max_tokens": 100}, 600),
            (Rewrites(drops=("max_tokens",)), {"max_tokens": 100, "n": 2}, 1200),
            (Rewrites(drops=("max_tokens",)), {"max_tokens": 100, "max_completion_tokens": 50}, 50),
            (Rewrites((("max_tokens", "max_output_tokens"),)), {"max_tokens": 100}, 600),
        ],
    )
    def test_is_what_the_target_is_asked_for(self, rewrites: Rewrites, fields: dict[str, Any], tokens: int) -> None:
        asked, target = operation(max_output=600, **fields), replace(TOKEN, rewrites=rewrites)
        assert asked.cost_bound(target, exact=False) == asked.rough_input_tokens() + tokens
        bound = max(fields.values())
        assert asked.cost_bound(TOKEN, exact=False) == asked.rough_input_tokens() + bound * fields.get("n", 1)

    def test_counts_its_input_where_that_matters(self) -> None:
        asked = operation(max_tokens=1)
        exact = asked.cost_bound(TOKEN, exact=True)
        assert exact is not None
        assert exact >= len("a bear") + 1
        assert exact != asked.cost_bound(TOKEN, exact=False)

    def test_is_that_of_the_dearest_it_asks_for(self) -> None:
        price = Price(
            input=10**6,
            output=10**6,
            cache_write=2 * 10**6,
            audio_output=5 * 10**6,
            call=7,
            tiers={"flex": 500, "fast": 2000, "ultrafast": 6000},
        )
        priced = Target(PIAPI, "claude", price=price)

        def bound(**fields: Any) -> int:
            asked = operation(max_tokens=100, **fields)
            found = asked.cost_bound(priced, exact=False)
            assert found is not None
            return found

        written, spoken = 2 * 100, 5 * 100  # 400 bytes are about 100 tokens
        assert bound(service_tier="default") == bound(service_tier="flex") == written + spoken
        assert bound() == bound(service_tier="auto") == bound(service_tier="priority") == 2 * (written + spoken)
        assert bound(service_tier="ultrafast") == bound(service_tier="unheard-of") == 6 * (written + spoken)
        assert bound(service_tier="default", prompt_cache_options={"ttl": "12h"}) == 2 * written + spoken
        searching = [{"type": "web_search", "max_uses": 2}]
        assert bound(service_tier="default", tools=searching) == written + spoken + 2 * 7

    def test_is_of_the_whole_window_where_something_is_fetched(self) -> None:
        def bound(**fields: Any) -> int:
            asked = operation(max_output=600, context=128_000, max_tokens=1, **fields)
            found = asked.cost_bound(TOKEN, exact=True)
            assert found is not None
            return found

        assert bound() < 1_000
        assert bound(web_search_options={}) == 128_000 + 1
        assert bound(newer={"id": 1}) == 128_000 + 600  # which may be another bound of the output
        assert bound(plugins=[{"id": "web"}]) < 1_000  # it goes to no upstream that is not configured to get it
        assert bound(prediction={"type": "content", "content": "x" * 400}) > bound() + 400

    def test_as_an_order_for_images_is_theirs(self) -> None:
        images = desk().operation("/v1/images/generations", wish(), (FLUX,), cast("Any", Presenter()))
        asked = operation(images)
        assert asked.cost_bound(FLUX, exact=True) == asked.stake(FLUX) == 20_000_000
        assert asked.cost_bound(CHAT, exact=False) != 20_000_000

    def test_its_input_is_counted_once_however_many_attempts_ask(self) -> None:
        counted: list[str] = []
        asked = operation().chat
        asked.count = lambda text: counted.append(text) or len(text)  # type: ignore[func-returns-value]
        assert asked.input_tokens() == asked.input_tokens()
        assert counted.count("a bear") == 1
