"""Claude's messages with targets of both kinds: relayed, and asked as a chat. Also what is beside a message: counts of
tokens, prices, errors and their ids, models, what a chat route says.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .claude import MODEL, PROMPT, WEB_SEARCH, either, events, messages, relayed, words
from .conftest import StartGateway
from .harness import ALICE, eventually
from .test_messages import error_of

COUNT = "/v1/messages/count_tokens"


class TestFromOneKindToTheOther:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("scenario", ["server_error", "key_invalid", "reset_before_head", "status;code=529"])
    @pytest.mark.parametrize("order", [("claude", "backup"), ("piapi", "reserve")], ids=str)
    async def test_before_the_first_word(
        self, order: tuple[str, str], scenario: str, stream: bool, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(either(sandbox, *order))
        for role in ("api", "proxy"):
            sandbox.script(scenario, role=role, times=None)
        answer = await messages(rig, stream=stream, metadata={"user_id": "u"})
        assert answer.status == 200
        assert answer.header("x-gateway-upstream") == order[1]
        assert words(answer).endswith(PROMPT[0]["content"])
        assert sandbox.requests[-1].path == ("/v1/messages" if order[1] == "reserve" else "/v1/chat/completions")
        assert answer.header("x-gateway-note") == ("ignored: metadata" if order[1] == "backup" else None)
        if stream:
            assert [event["type"] for event in events(answer)].count("message_start") == 1
            assert events(answer)[-1]["type"] == "message_stop"
        row = await rig.row()
        assert (row.state, row.charged, row.confidence) == ("settled", sandbox.bill[-1].amount, "measured")

    @pytest.mark.parametrize("scenario", ["cut_early", "sse_error_first;code=529;after_events=1", "cut;after_events=3"])
    async def test_a_relayed_stream_that_has_begun_without_a_word(
        self, scenario: str, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(either(sandbox, "claude", "backup"))
        for role in ("api", "proxy"):
            sandbox.script(scenario, role=role, times=None)
        answer = await messages(rig, stream=True)
        assert answer.header("x-gateway-upstream") == "backup"
        told = events(answer)
        assert told[0]["message"]["id"].startswith("msg_")
        assert not told[0]["message"]["id"].startswith("msg_sandbox")  # nothing of the first stream has gone out
        assert told[-1]["type"] == "message_stop"

    async def test_what_a_chat_cannot_have_is_relayed_alone(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(either(sandbox, "piapi", "claude"))
        answer = await messages(rig, tools=[WEB_SEARCH])
        assert answer.status == 200
        assert [request.path for request in sandbox.requests] == ["/v1/messages"]

    async def test_where_all_are_chats_it_is_refused_by_name(self, gateway: StartGateway) -> None:
        rig = await gateway("")
        answer = await messages(rig, tools=[WEB_SEARCH])
        assert answer.status == 400
        assert "web_search" in error_of(answer.json())["message"]


class TestThreads:
    """Conversations that the upstream holds: known to the account and the virtual key that began them."""

    BOB = "gw-bob-000111222333444555"

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_go_on_where_they_began(self, stream: bool, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(either(sandbox, "piapi", "claude", "reserve"))
        begun = await messages(rig, thread={"type": "create"}, stream=stream)
        first = begun.payloads[0] if stream else begun.body
        document = json.loads(first)
        id = document.get("message", document)["id"]
        for _ in range(4):
            answer = await messages(rig, thread={"type": "continue", "previous_message_id": id})
            assert answer.status == 200
        assert len({(request.role, request.key) for request in sandbox.requests}) == 1
        assert sandbox.requests[-1].json["thread"]["previous_message_id"] == id

    async def test_are_nobody_elses(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        keys = {"keys": [{"name": "alice", "key": ALICE}, {"name": "bob", "key": self.BOB}]}
        rig = await gateway(relayed(sandbox, json.dumps(keys)))
        id = (await messages(rig, thread={"type": "create"})).json()["id"]
        plain = (await messages(rig)).json()["id"]  # of no thread, so that nothing goes on from it
        before = len(sandbox.requests)
        for asked, key in ((id, self.BOB), (plain, ALICE), ("msg_made_up", ALICE)):
            thread = {"type": "continue", "previous_message_id": asked}
            answer = await messages(rig, thread=thread, headers={"x-api-key": key})
            assert answer.status == 404
            assert error_of(answer.json())["type"] == "not_found_error"
        assert len(sandbox.requests) == before

    async def test_are_not_a_chats(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(either(sandbox, "piapi"))
        answer = await messages(rig, thread={"type": "create"})
        assert answer.status == 400
        assert "thread" in error_of(answer.json())["message"]


class TestACountOfTokens:
    async def test_is_the_upstreams_and_free(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        answer = await messages(rig, path=COUNT, max_tokens=None, headers={"anthropic-beta": "counting-1"})
        assert answer.json() == {"input_tokens": 12}
        assert answer.header("request-id")
        assert answer.header("x-gateway-upstream") == "claude"
        (asked,) = sandbox.requests
        assert asked.path == COUNT
        assert asked.get(b"anthropic-beta") == b"counting-1"
        assert sandbox.bill == []
        assert await rig.usage("key") == []

    @pytest.mark.parametrize(
        "scenario", ["server_error", "key_invalid", "reset_before_head", "html_200", "model_missing"]
    )
    async def test_that_cannot_be_had_is_made_here(
        self, scenario: str, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(relayed(sandbox))
        rig.for_all_roles(scenario)
        answer = await messages(rig, path=COUNT, max_tokens=None, tools=[WEB_SEARCH])
        assert answer.status == 200
        assert answer.json()["input_tokens"] > 5
        assert "estimate" in (answer.header("x-gateway-note") or "")

    async def test_of_another_host_or_key(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        sandbox.script("server_error", role="api")
        answer = await messages(rig, path=COUNT, max_tokens=None)
        assert answer.json() == {"input_tokens": 12}
        assert answer.header("x-gateway-attempts") == "2"

    async def test_of_a_wrong_request(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        rig.for_all_roles("rejected")
        answer = await messages(rig, path=COUNT, max_tokens=None)
        assert answer.status == 400
        assert error_of(answer.json())["type"] == "invalid_request_error"


class TestPrices:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("ttl", ["5m", "1h"])
    async def test_of_what_is_written_to_the_cache_and_read(
        self, ttl: str, stream: bool, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        price = {"input": 3, "cached_input": 0.3, "cache_write": 3.75, "output": 15}
        more = {"models": {"claude-sonnet-4-6": {"targets": [{"upstream": "reserve", "price": price}]}}}
        rig = await gateway(relayed(sandbox, json.dumps(more)))
        sandbox.script("ok;cached=2;written=5")
        marked = {"type": "text", "text": "one two three four five", "cache_control": {"type": "ephemeral", "ttl": ttl}}
        asked = [{"role": "user", "content": [marked]}]
        answer = await messages(rig, model="claude-sonnet-4-6", messages=asked, stream=stream)
        assert answer.status == 200
        row = await rig.row()
        assert row.charged == sandbox.bill[0].amount
        assert row.confidence == "measured"
        assert (row.input_tokens, row.cached_input_tokens) == (12, 2)

    async def test_a_budget_reserves_the_clients_bound(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        """500 tokens of output are $0.0056: a budget of a cent has room for one request at once and not for two."""
        budget = {"keys": [{"name": "alice", "key": ALICE, "budget": "0.01/day"}]}
        rig = await gateway(relayed(sandbox, json.dumps(budget)))
        refused = await messages(rig, max_tokens=5000)
        assert refused.status == 429
        assert error_of(refused.json())["type"] == "rate_limit_error"
        assert sandbox.requests == []
        assert (await messages(rig, max_tokens=500)).status == 200

    async def test_what_upstreams_say_of_it_is_checked(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        sandbox.script("no_done")  # and the rest is as it should be
        answer = await messages(rig, stream=True)
        assert events(answer)[-1]["type"] == "message_stop"
        assert (await rig.row()).confidence == "measured"

    async def test_a_stream_without_any_is_counted(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        sandbox.script("ok;usage=0")
        assert (await messages(rig, stream=True)).status == 200
        row = await rig.row()
        assert row.confidence == "estimated"
        assert row.charged > 0


class TestErrors:
    @pytest.mark.parametrize("path", ["/v1/messages", COUNT])
    async def test_every_answer_names_the_request_by_anthropics_name(
        self, path: str, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(relayed(sandbox))
        sent = {"x-request-id": "story-0001"}
        told = [
            await messages(rig, path=path, headers=sent),
            await messages(rig, path=path, headers={**sent, "x-api-key": "gw-unknown-000000000000"}),
            await messages(rig, path=path, headers=sent, messages=[]),
            await messages(rig, path=path, headers=sent, model="no-such-model"),
        ]
        async with rig.client() as client:
            told.append(await client.request("GET", path, b"", "x-request-id: story-0001"))
        assert [answer.status for answer in told] == [200, 401, 400, 200 if path == COUNT else 404, 405]
        for answer in told:
            assert answer.header("request-id") == answer.header("x-request-id") == "story-0001"
            if answer.status != 200:
                assert answer.json()["type"] == "error"
                assert answer.json()["request_id"] == "story-0001"

    async def test_an_account_without_money_is_no_fault_of_the_request(
        self, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        """Anthropic tells it with 400 and the type of a wrong request."""
        rig = await gateway(relayed(sandbox))
        message = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
        sandbox.script(f"rejected;message={message}", role="api")
        answer = await messages(rig)
        assert answer.status == 200
        assert (await rig.row()).outcomes == ["key_unfunded", "ok"]

    async def test_an_overload_tells_when_to_come_back(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        rig.for_all_roles("status;code=529;retry_after=7")
        answer = await messages(rig)
        assert (answer.status, error_of(answer.json())["type"]) == (502, "api_error")
        assert (await rig.row()).outcomes[0] == "upstream_5xx"

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
    async def test_other_routes_name_the_line_that_would_serve_them(
        self, path: str, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(relayed(sandbox))
        body = {"model": MODEL, "messages": PROMPT} if "chat" in path else {"model": MODEL, "input": "Hello"}
        answer = await rig.post(json.dumps(body).encode(), target=path)
        assert (answer.status, answer.error()["code"]) == (404, "model_not_found")
        assert f"models: {{{MODEL}: {{targets: [{{upstream: backup}}]}}}}" in answer.error()["message"]
        assert sandbox.requests == []


async def test_an_unlisted_model_goes_along_the_default_route(sandbox: Sandbox, gateway: StartGateway) -> None:
    rig = await gateway(relayed(sandbox, "default_route: [reserve]"))
    answer = await messages(rig, model="claude-of-tomorrow")
    assert answer.status == 200
    assert sandbox.requests[0].path == "/v1/messages"
    chat = await rig.post(json.dumps({"model": "claude-of-tomorrow", "messages": PROMPT}).encode())
    assert chat.status == 404


async def test_its_models_are_listed_page_by_page(
    sandbox: Sandbox, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.wire.model_question._A_PAGE", 1)
    rig = await gateway(relayed(sandbox), ask_for_models=True)

    def listed() -> Any:
        return rig.gateway._model_lists.lists.models("reserve")

    await eventually(lambda: bool(listed()), "the reserve's list")
    assert list(listed()) == ["claude-3-7-sonnet-20250219", MODEL]
    assert {model.created for model in listed().values()} == {1_700_000_000}
    pages = [request.request.target for request in sandbox.listings if request.get(b"anthropic-version")]
    assert "/v1/models?limit=1&after_id=claude-3-7-sonnet-20250219" in pages


async def test_a_cache_is_filled_without_an_answer(sandbox: Sandbox, gateway: StartGateway) -> None:
    """Anthropic takes ``max_tokens: 0`` for that; a chat cannot."""
    rig = await gateway(either(sandbox, "piapi", "claude"))
    assert (await messages(rig, max_tokens=0)).status == 200
    assert [(request.path, request.json["max_tokens"]) for request in sandbox.requests] == [("/v1/messages", 0)]
    refused = await messages(rig, max_tokens=0, model="gpt-4o")
    assert refused.status == 400
    assert "max_tokens" in error_of(refused.json())["message"]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_a_client_gets_a_message_or_an_error(
    seed: int, sandbox: Sandbox, gateway: StartGateway
) -> None:
    rig = await gateway(either(sandbox, *(("claude", "backup") if seed % 2 else ("piapi", "reserve"))))
    sandbox.script(f"random_faults;share=0.7;seed={seed + 1}", times=None)
    for number in range(16):
        answer = await messages(rig, stream=bool(number % 2))
        if answer.status != 200:
            error_of(answer.json())
        elif not answer.is_stream:
            assert answer.json()["stop_reason"] == "end_turn"
        elif (last := events(answer)[-1])["type"] != "message_stop":
            error_of(last)
        assert answer.status != 200 or answer.complete
        assert answer.header("request-id")
