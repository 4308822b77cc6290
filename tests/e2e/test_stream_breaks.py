"""A stream that breaks: at any place, in any way, by whoever. What the client sees, and who pays."""

from __future__ import annotations

import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import Rig, chat_body
from .streams import ASKED, EVERYTHING, FINISHED, ROLE, SHORT, UNASKED, WORDS, direct, is_whole, plain

MANY_FAULTS = "failover: {breaker: {failures: 1000, window: 1ms}}"


class TestACutAtEveryEvent:
    @pytest.mark.parametrize("reset", [0, 1], ids=["fin", "rst"])
    @pytest.mark.parametrize("events", range(EVERYTHING + 1))
    async def test_shows_only_once_content_has_passed(self, rig: Rig, events: int, reset: int) -> None:
        whole = plain((await direct(rig.sandbox, f"ok;{SHORT}", **ASKED)).body)
        cut = rig.sandbox.script(f"cut;{SHORT};delay=1;after_events={events};reset={reset}", role="api")
        rig.sandbox.script(f"ok;{SHORT}", role="proxy", times=None)

        answer = await rig.chat(**ASKED)

        row = await rig.row()
        assert cut.used == 1
        if events <= ROLE:
            assert row.outcomes == ["sse_cut_early", "ok"]
            assert plain(answer.body) == whole
            assert answer.header("x-gateway-attempts") == "2"
            assert row.endpoint == rig.sandbox.urls["proxy"]
        elif events <= WORDS:
            assert row.outcomes == ["sse_cut_late"]
            assert answer.stream_error()["code"] == "upstream_stream_interrupted"
            assert plain(answer.body).startswith(b"\n\n".join(whole.split(b"\n\n")[:events]) + b"\n\n")
            assert len(answer.events) == events + 1
            assert row.confidence == "estimated"
            assert row.status == 502
            assert len(rig.sandbox.requests) == 2  # the direct one and one of ours: nothing was spliced
        else:
            assert row.outcomes == ["ok"]
            assert is_whole(answer)
            assert row.confidence == ("estimated" if events == FINISHED else "measured")
            assert (plain(answer.body) == whole) is (events > FINISHED)

    async def test_and_at_bytes_in_between(self, gateway: StartGateway) -> None:
        """Client bytes are a beginning of the upstream's, then an error event; or they are a whole answer."""
        rig = await gateway(MANY_FAULTS)
        whole = (await direct(rig.sandbox, f"ok;{SHORT}", **ASKED)).body
        content = whole.index(b'"content":"This"')
        finish = whole.index(b'"finish_reason":"stop"')
        after_content = whole.index(b"\n\n", content) + 2
        after_finish = whole.index(b"\n\n", finish) + 2
        offsets = sorted({*range(0, len(whole), 53), after_content - 1, after_content, after_finish - 1, after_finish})
        for at in offsets:
            cut = rig.sandbox.script(f"cut_bytes;{SHORT};at={at}", role="api")
            rig.sandbox.script(f"ok;{SHORT}", role="proxy")

            answer = await rig.chat(**ASKED)

            rig.sandbox.clear_scripts()
            assert cut.used == 1
            if at < after_content:
                assert plain(answer.body) == plain(whole), at
            elif at < after_finish:
                assert answer.stream_error()["code"] == "upstream_stream_interrupted", at
                assert plain(whole).startswith(plain(b"".join(answer.events[:-1]))), at
            else:
                assert is_whole(answer), at
        await rig.rows(len(offsets))

    async def test_the_client_pays_for_what_it_received(self, rig: Rig) -> None:
        rig.sandbox.script("cut;after_events=9")

        answer = await rig.chat(**ASKED)

        row = await rig.row()
        assert answer.stream_error()["type"] == "upstream_error"
        assert (row.state, row.confidence) == ("settled", "estimated")
        assert 0 < row.output_tokens < 18
        assert row.charged == row.input_tokens * 1875 + row.output_tokens * 7500
        assert row.costs == [(row.charged, "unknown")]


class TestFaultsInsideAStream:
    @pytest.mark.parametrize(
        ("scenario", "outcome"),
        [
            ("sse_error_first", "upstream_5xx"),
            ("sse_error_string", "sse_error_first"),
            ("sse_event_error_flat", "upstream_5xx"),
            ("delta_error", "upstream_408"),
            ("sse_empty", "sse_empty"),
            ("sse_only_done", "sse_empty"),
            ("clean_eof;after_events=1", "sse_cut_early"),
            ("truncated_chunk;after_events=1", "sse_cut_early"),
            ("bad_chunk;after_events=1", "sse_cut_early"),
            ("bad_event;after_events=1", "sse_bad_event"),
            ("huge_event", "sse_event_too_big"),
            ("html_200", "bad_content_type"),
            ("bad_json", "bad_json"),
            ("truncated_json", "bad_json"),
            ("empty_body", "empty_response"),
            ("soft_error;code=500", "upstream_5xx"),
            ("gzip", "bad_encoding"),
            ("bomb;mib=16", "bad_encoding"),
            ("redirect", "redirect"),
            ("garbage", "bad_http"),
            ("big_head", "head_too_big"),
            ("reset_before_head", "connection_reset"),
            ("server_error", "upstream_5xx"),
            ("waf_block", "waf_block"),
            ("cf_origin_down", "cf_origin_down"),
            ("cloudflare", "cf_unknown"),
            ("cf_524", "cf_524"),
            ("upstream_408", "upstream_408"),
        ],
    )
    async def test_before_content_are_invisible(self, rig: Rig, scenario: str, outcome: str) -> None:
        rig.sandbox.script(scenario, role="api")

        answer = await rig.chat(**UNASKED)

        assert answer.status == 200
        assert is_whole(answer)
        assert "hello" in answer.text
        row = await rig.row()
        assert row.outcomes == [outcome, "ok"]
        assert row.endpoint == rig.sandbox.urls["proxy"]
        figures = await rig.figures()
        assert figures.total("gateway_failovers_total", **{"from": "piapi", "to": "piapi", "reason": outcome}) == 1
        assert figures.total("gateway_upstream_attempts_total", endpoint=rig.sandbox.urls["api"], outcome=outcome) == 1

    @pytest.mark.parametrize(
        ("scenario", "outcome"),
        [
            ("sse_error_late", "upstream_5xx"),
            ("delta_error;after_events=4", "upstream_408"),
            ("bad_event;after_events=4", "sse_bad_event"),
            ("huge_event;after_events=4", "sse_event_too_big"),
            ("truncated_chunk;after_events=4", "sse_cut_late"),
            ("bad_chunk;after_events=4", "sse_cut_late"),
        ],
    )
    async def test_after_content_end_the_stream_with_an_error(self, rig: Rig, scenario: str, outcome: str) -> None:
        whole = plain((await direct(rig.sandbox, "ok", **ASKED)).body)
        rig.sandbox.script(scenario, role="api")

        answer = await rig.chat(**UNASKED)

        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        assert whole.startswith(plain(b"".join(answer.events[:-1])))
        assert len(answer.events) > 2
        assert (await rig.row()).outcomes == [outcome]


class TestSilence:
    @pytest.mark.parametrize(
        ("scenario", "timeout", "outcome"),
        [
            ("stall_head", "head: 100ms", "stall_head"),
            ("stall_before_content", "content: 100ms", "stall_content"),
            ("drip;interval=10", "content: 100ms", "stall_content"),
        ],
    )
    async def test_before_content_is_left_for_the_next_host(
        self, gateway: StartGateway, scenario: str, timeout: str, outcome: str
    ) -> None:
        rig = await gateway(f"upstreams: {{piapi: {{timeouts: {{{timeout}}}}}}}")
        rig.sandbox.script(scenario, role="api")

        answer = await rig.chat(**UNASKED)

        assert is_whole(answer)
        assert (await rig.row()).outcomes == [outcome, "ok"]

    async def test_beyond_the_hosts_wall_is_left_too(self, gateway: StartGateway, sandbox: Sandbox) -> None:
        rig = await gateway(
            "upstreams: {piapi: {endpoints: ["
            f"{{url: '{sandbox.urls['api']}', wall: 150ms}}, {{url: '{sandbox.urls['proxy']}'}}]}}}}"
        )
        sandbox.script("stall_before_content", role="api")

        assert is_whole(await rig.chat(**UNASKED))
        assert (await rig.row()).outcomes == ["stall_content", "ok"]

    async def test_after_content_ends_the_stream_with_an_error(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {idle: 100ms}}}")
        rig.sandbox.script("stall_mid")

        answer = await rig.chat(**UNASKED)

        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        assert len(answer.payloads) == 4
        row = await rig.row()
        assert row.outcomes == ["stall_idle"]
        assert row.charged > 0

    async def test_a_stream_that_never_ends_is_ended(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {stream_total: 300ms}}}")
        rig.sandbox.script("endless;delay=5")

        answer = await rig.chat(**UNASKED)

        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        row = await rig.row()
        assert row.outcomes == ["stream_too_long"]
        assert row.output_tokens > 0


class TestTheHeadThatIsHeldBack:
    @pytest.fixture(autouse=True)
    def _short_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.server.client.HOLD", 0.1)
        monkeypatch.setattr("gateway.server.client.PING_EVERY", 0.05)

    async def test_goes_out_with_comments_when_the_upstream_is_slow(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;seconds=0.4")

        answer = await rig.chat(**UNASKED)

        before, first, _ = answer.body.partition(b"data: ")
        assert first
        assert before.count(b": ping\n\n") >= 2
        assert before.replace(b": ping\n\n", b"") == b""
        assert is_whole(answer)
        assert "hello" in answer.text

    async def test_leaves_failover_possible(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {head: 300ms}}}")
        rig.sandbox.script("stall_head", role="api")

        answer = await rig.chat(**UNASKED)

        assert answer.body.startswith(b": ping\n\n")
        assert is_whole(answer)
        assert "hello" in answer.text
        assert (await rig.row()).outcomes == ["stall_head", "ok"]

    async def test_makes_a_later_error_an_event(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {head: 200ms}}, backup: {timeouts: {head: 200ms}}}")
        rig.for_all_roles("stall_head")

        answer = await rig.chat(**UNASKED)

        assert answer.body.startswith(b": ping\n\n")
        error = answer.stream_error()
        assert (error["type"], error["code"]) == ("upstream_error", "upstream_timeout")
        row = await rig.row()
        assert (row.status, row.charged, row.outcomes) == (504, 0, ["stall_head"] * 3)

    async def test_stays_back_for_a_fast_failure(self, rig: Rig) -> None:
        rig.for_all_roles("server_error")

        answer = await rig.chat(**UNASKED)

        assert answer.status == 502
        assert answer.error()["code"] == "upstream_error"


class TestAClientThatLeaves:
    async def test_mid_stream_pays_for_what_ran_and_the_upstream_is_cut_off(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.exchange.exchange.READ_ON_SECONDS", 0.1)
        rig.sandbox.script("endless;delay=5")
        async with rig.client() as client:
            await client.ask(chat_body(**UNASKED))
            await client.head()
            await client.until(b" simulated")
            await client.leave()

        row = await rig.row()

        assert (row.outcomes, row.status, row.confidence) == (["client_gone_stream"], 499, "estimated")
        assert row.output_tokens >= 5
        assert row.charged == row.input_tokens * 1875 + row.output_tokens * 7500
        await rig.sandbox.until_idle()
        assert rig.sandbox.requests[0].ending == "client_gone"

    async def test_shortly_before_the_end_pays_by_the_upstreams_own_usage(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=10")
        async with rig.client() as client:
            await client.ask(chat_body(**UNASKED))
            await client.head()
            await client.until(b" simulated")
            await client.leave()

        row = await rig.row()

        assert (row.status, row.confidence, row.output_tokens) == (499, "measured", 18)
        assert row.charged == rig.sandbox.billed

    async def test_while_nothing_has_come_ends_the_attempt(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head")
        async with rig.client() as client:
            await client.ask(chat_body(**UNASKED))
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
            await client.leave()

        row = await rig.row()

        assert (row.outcomes, row.status) == (["client_gone_wait"], 499)
        await rig.sandbox.until_idle()
