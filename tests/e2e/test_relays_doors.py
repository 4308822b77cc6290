"""Who may ask the relayed routes, for what, and up to which amount; and what is told to those who may not."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Rig, eventually
from .relays import (
    COMPLETION,
    COMPLETIONS,
    EMBEDDINGS,
    KINDS,
    MODERATION,
    PRICED,
    SPEECH,
    SUBTITLES,
    TRANSCRIPT,
    TRANSLATION,
    Kind,
    recording,
)

BOB = "gw-bob-0011223344556677"


def keys(**fields: object) -> str:
    bob = json.dumps({"name": "bob", "key": BOB, **fields})
    return f"{PRICED}\nkeys: [{{name: alice, team: growth, key: {ALICE}}}, {bob}]\n"


class TestTheModel:
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not MODERATION], ids=str)
    async def test_must_be_named(self, gateway: StartGateway, kind: Kind) -> None:
        rig = await gateway(PRICED)
        answer = await kind.ask(rig, model=None)
        error = answer.error()
        assert (answer.status, error["param"], error["code"]) == (400, "model", "missing_required_parameter")
        assert ("default_models: {embeddings: NAME}" in error["message"]) == (kind is EMBEDDINGS)
        assert rig.sandbox.requests == []

    async def test_of_embeddings_may_be_a_default(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{PRICED}\ndefault_models: {{embeddings: text-embedding-3-small}}")
        assert (await EMBEDDINGS.ask(rig, model=None)).status == 200
        assert rig.sandbox.requests[0].json["model"] == "text-embedding-3-small"

    @pytest.mark.parametrize("kind", KINDS, ids=str)
    async def test_that_has_no_target_here_is_told_the_line(self, gateway: StartGateway, kind: Kind) -> None:
        rig = await gateway(PRICED)
        answer = await kind.ask(rig, model="gpt-4o")
        error = answer.error()
        assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        operation = {"speech": "speech", "completion": "completions"}.get(kind.name) or kind.path.rpartition("/")[2]
        assert f"models: {{gpt-4o: {{targets: [{{upstream: backup, operation: {operation}}}]}}}}" in error["message"]
        assert rig.sandbox.requests == []

    async def test_that_only_embeds_holds_no_chat(self, rig: Rig) -> None:
        answer = await rig.chat(model="text-embedding-3-small")
        error = answer.error()
        assert (answer.status, error["code"]) == (404, "model_not_found")
        assert "models: {text-embedding-3-small: {targets: [{upstream: backup}]}}" in error["message"]

    async def test_that_nobody_knows_goes_along_the_default_route(self, rig: Rig) -> None:
        rig.sandbox.script("server_error", role="api")
        rig.sandbox.script("server_error", role="proxy")
        answer = await EMBEDDINGS.ask(rig, model="embed-of-tomorrow")
        assert answer.status == 200
        assert [request.role for request in rig.sandbox.requests] == ["api", "proxy", "backup"]
        assert answer.header("x-gateway-cost-usd") is None
        assert (await rig.row()).confidence == "unknown"

    async def test_that_nobody_knows_without_a_default_route_is_told_the_line(self, gateway: StartGateway) -> None:
        rig = await gateway("default_route: []")
        answer = await SPEECH.ask(rig, model="voice-of-tomorrow")
        assert answer.status == 404
        assert "operation: speech}" in answer.error()["message"]

    async def test_with_a_vendors_prefix_is_the_model(self, gateway: StartGateway) -> None:
        rig = await gateway(PRICED)
        assert (await EMBEDDINGS.ask(rig, model="openai/text-embedding-3-small")).status == 200
        assert rig.sandbox.requests[0].json["model"] == "text-embedding-3-small"

    async def test_must_be_one_that_the_key_may_use(self, gateway: StartGateway) -> None:
        rig = await gateway(keys(models=["gpt-4o*", "tts-*"]))
        answer = await EMBEDDINGS.ask(rig, key=BOB)
        assert (answer.status, answer.error()["code"]) == (403, "model_not_allowed")
        assert (await SPEECH.ask(rig, key=BOB)).status == 200


class TestTheBudget:
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.priced], ids=str)
    async def test_refuses_what_may_cost_more(self, gateway: StartGateway, kind: Kind) -> None:
        rig = await gateway(keys(budget="0.0000001/month"))
        answer = await kind.ask(rig, key=BOB)
        assert (answer.status, answer.error()["code"]) == (429, "insufficient_quota")
        assert rig.sandbox.requests == []

    @pytest.mark.parametrize("kind", KINDS, ids=str)
    async def test_is_reserved_by_a_bound_that_holds(self, gateway: StartGateway, kind: Kind) -> None:
        rig = await gateway(keys(budget="5/month"))
        answer = await kind.ask(rig, key=BOB)
        assert answer.status == 200
        row = await rig.row()
        with closing(sqlite3.connect(rig.folder / "gateway.db")) as books:
            ((reserved,),) = books.execute("SELECT reserved FROM intents").fetchall()
        assert reserved >= row.charged
        assert row.state == "settled"
        assert (reserved > 0) == kind.priced

    async def test_lets_no_crowd_overspend(self, gateway: StartGateway) -> None:
        rig = await gateway(keys(budget="0.0020/month"))
        text = "a" * 20
        answers = await asyncio.gather(*[SPEECH.ask(rig, key=BOB, input=text) for _ in range(20)])
        served = [answer for answer in answers if answer.status == 200]
        assert len(served) == 6  # 300 micro-dollars each
        assert {answer.status for answer in answers} == {200, 429}

    async def test_pays_for_no_model_without_a_price(self, gateway: StartGateway) -> None:
        rig = await gateway(keys(budget="5/month"))
        answer = await EMBEDDINGS.ask(rig, key=BOB, model="embed-of-tomorrow")
        assert answer.status in (403, 429)
        assert "operation: embeddings, price: {input: …}" in answer.error()["message"]

    async def test_of_moderations_needs_nothing(self, gateway: StartGateway) -> None:
        rig = await gateway(keys(budget="0.0000001/month"))
        assert (await MODERATION.ask(rig, key=BOB)).status == 200


class TestLimits:
    async def test_of_requests_a_minute(self, gateway: StartGateway) -> None:
        rig = await gateway(keys(rpm=1))
        assert (await EMBEDDINGS.ask(rig, key=BOB)).status == 200
        answer = await SPEECH.ask(rig, key=BOB)
        assert (answer.status, answer.error()["code"]) == (429, "rate_limit_exceeded")

    async def test_of_tokens_a_minute(self, gateway: StartGateway) -> None:
        rig = await gateway(keys(tpm=50))
        answer = await EMBEDDINGS.ask(rig, key=BOB, input="word " * 200)
        assert (answer.status, answer.error()["code"]) == (429, "rate_limit_exceeded")

    async def test_of_a_form(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{PRICED}\nlimits: {{upload: 64KiB}}")
        kind = Kind("big", TRANSCRIPT.path, "whisper-1", file=recording(20))
        answer = await kind.ask(rig)
        assert (answer.status, answer.error()["code"]) == (413, "request_too_large")


class TestWhatPasses:
    async def test_everything_unknown(self, gateway: StartGateway) -> None:
        rig = await gateway(PRICED)
        await EMBEDDINGS.ask(rig, of_tomorrow={"deep": [1, None]}, user="someone")
        sent = rig.sandbox.requests[0].json
        assert sent["of_tomorrow"] == {"deep": [1, None]}
        assert sent["user"] == "someone"

    async def test_a_form_field_by_field(self, gateway: StartGateway) -> None:
        rig = await gateway(PRICED)
        fields = {"prompt": 'a "quoted" word', "timestamp_granularities[]": "word", "of_tomorrow[a]": "1"}
        await TRANSCRIPT.ask(rig, **fields)
        form = rig.sandbox.requests[0].form
        assert form is not None
        assert dict(form.fields) == {**fields, "model": "whisper-1"}
        assert form.files[0].data == TRANSCRIPT.file

    @pytest.mark.parametrize("kind", [EMBEDDINGS, COMPLETION, SPEECH, TRANSCRIPT], ids=str)
    async def test_nothing_that_would_choose_another_place(self, gateway: StartGateway, kind: Kind) -> None:
        rig = await gateway(PRICED)
        answer = await kind.ask(rig, api_base="http://127.0.0.1:9", provider="x", webhook_config="y")
        assert answer.status == 200
        note = answer.header("x-gateway-note")
        assert note is not None
        assert {"api_base", "provider", "webhook_config"} <= set(note.removeprefix("ignored: ").split(", "))
        assert b"api_base" not in rig.sandbox.requests[0].body

    @pytest.mark.parametrize("kind", [EMBEDDINGS, TRANSCRIPT], ids=str)
    async def test_no_file_of_anothers(self, gateway: StartGateway, kind: Kind) -> None:
        rig = await gateway(PRICED)
        answer = await kind.ask(rig, file_id="file-abc123")
        assert (answer.status, answer.error()["code"]) == (404, "file_not_found")
        assert rig.sandbox.requests == []

    async def test_only_a_form_where_a_form_is_due(self, gateway: StartGateway) -> None:
        rig = await gateway(PRICED)
        async with rig.client() as client:
            head = ("Content-Type: application/json", f"Authorization: Bearer {ALICE}")
            answer = await client.request("POST", TRANSLATION.path, b'{"model": "whisper-1"}', *head)
        assert (answer.status, answer.error()["code"]) == (400, "invalid_form")

    @pytest.mark.parametrize(("field", "value"), [("best_of", 0), ("max_tokens", 0), ("n", 1)])
    async def test_a_bound_at_its_end(self, gateway: StartGateway, field: str, value: object) -> None:
        rig = await gateway(PRICED)
        assert (await COMPLETION.ask(rig, **{field: value})).status == 200
        assert rig.sandbox.requests[0].json[field] == value

    @pytest.mark.parametrize(
        ("field", "value"),
        [("stream", "yes"), ("n", 0), ("best_of", -1), ("best_of", 129), ("max_tokens", -1), ("stream_options", 1)],
    )
    async def test_no_bound_that_is_none(self, gateway: StartGateway, field: str, value: object) -> None:
        rig = await gateway(PRICED)
        answer = await COMPLETION.ask(rig, **{field: value})
        assert (answer.status, answer.error()["param"]) == (400, field)


class TestTheClient:
    async def test_that_leaves_a_sound_pays_for_what_came(self, gateway: StartGateway) -> None:
        rig = await gateway(PRICED)
        rig.sandbox.script("slow;delay=100", role="api")
        text = "word " * 100
        body, content_type = SPEECH.request(input=text)
        async with rig.client() as client:
            await client.ask(body, ALICE, {"content-type": content_type}, target=SPEECH.path)
            await client.head()
            await client.until(b"ID3")
            await client.leave()
        row = await rig.row()
        assert row.outcomes == ["client_gone_stream"]
        assert 0 < row.charged <= len(text) * 15_000

    async def test_that_leaves_before_a_word_costs_its_input(self, gateway: StartGateway) -> None:
        rig = await gateway(PRICED)
        rig.sandbox.script("stall_head", role="api")
        body, content_type = TRANSCRIPT.request()
        async with rig.client() as client:
            await client.ask(body, ALICE, {"content-type": content_type}, target=TRANSCRIPT.path)
            await eventually(lambda: len(rig.sandbox.requests) == 1, "the request upstream")
            await client.leave()
        row = await rig.row()
        assert row.outcomes == ["client_gone_wait"]
        assert row.charged == 300_000

    async def test_is_told_no_blanks_before_subtitles(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{PRICED}\nnonstream_heartbeat: 50ms")
        rig.sandbox.script("stall_head;seconds=0.3", role="api")
        answer = await SUBTITLES.ask(rig)
        assert answer.body.startswith(b"1\n00:00:00")

    async def test_is_kept_waiting_with_blanks_before_a_document(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{PRICED}\nnonstream_heartbeat: 50ms")
        rig.sandbox.script("stall_head;seconds=0.3", role="api")
        answer = await EMBEDDINGS.ask(rig)
        assert answer.body.startswith(b" ")
        assert answer.json()["object"] == "list"


async def test_an_upstream_that_refuses_stream_options_is_asked_without(gateway: StartGateway) -> None:
    rig = await gateway(PRICED)
    rig.sandbox.script("refuses_stream_options", role="api", times=None)
    answer = await COMPLETIONS.ask(rig)
    assert answer.payloads[-1] == b"[DONE]"
    assert [request.role for request in rig.sandbox.requests] == ["api", "api"]
    assert "stream_options" not in rig.sandbox.requests[1].json
    row = await rig.row()
    assert row.confidence == "estimated"
    await COMPLETIONS.ask(rig)
    assert len(rig.sandbox.requests) == 3


async def test_no_prompt_reaches_the_log(gateway: StartGateway) -> None:
    """The rig looks for PROMPT in the log when it closes."""
    rig = await gateway(PRICED)
    for kind in KINDS:
        await kind.ask(rig, key="wrong" if kind is MODERATION else ALICE)
    assert PROMPT.encode() in rig.sandbox.requests[0].body
