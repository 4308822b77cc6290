"""A paid item whose result did not come: who asks for it again, and who bears what was perhaps bought twice."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import Rig
from .raw_orders import (
    BACKUP_COST,
    BY_BACKUP,
    IMAGE,
    NO_BACKUP,
    PIAPI,
    TABLE,
    WORDS,
    order,
    orders_asked,
    sandbox_links,
)


class TestDoubt:
    """A paid item that may have been bought is bought once more if it is cheap, and never if it is dear."""

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_little_money_is_risked(self, rig: Rig, stream: bool) -> None:
        rig.sandbox.script("cf_524;bought=1", role="api")

        answer = await order(rig, stream=stream, response_format="url")

        link = (json.loads(answer.payloads[0]) if stream else answer.json()["data"][0])["url"]
        assert [link] == sandbox_links(rig, role="proxy")
        assert orders_asked(rig) == ["api", "proxy"]
        row = await rig.row()
        assert row.outcomes == ["cf_524", "ok"]
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]
        assert row.charged == IMAGE
        assert row.upstream_cost == rig.sandbox.billed
        figures = await rig.figures()
        assert figures.nano("gateway_upstream_cost_usd_total", reason="suspected_duplicate") == IMAGE

    async def test_but_not_a_second_time(self, rig: Rig) -> None:
        rig.for_all_roles("cf_524;bought=1")

        answer = await order(rig)

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert answer.header("x-should-retry") == "false"
        assert orders_asked(rig) == ["api", "proxy"]
        row = await rig.row()
        assert (row.charged, row.state, row.outcomes) == (0, "unknown", ["cf_524"] * 2)
        assert row.upstream_cost == rig.sandbox.billed == 2 * IMAGE

    async def test_nor_as_a_sure_failure_after_it(self, rig: Rig) -> None:
        """The second host fails provably, so the backup may still be asked; the doubt of the first one remains."""
        rig.sandbox.script("cf_524;bought=1", role="api")
        rig.sandbox.script("key_unfunded", role="proxy")

        answer = await order(rig)

        assert answer.status == 200
        assert orders_asked(rig) == ["api", "proxy", "backup"]
        row = await rig.row()
        assert row.outcomes == ["cf_524", "key_unfunded", "ok"]
        assert row.costs == [(IMAGE, "suspected_duplicate"), (0, "billed"), (BACKUP_COST, "billed")]
        assert row.charged == BACKUP_COST

    @pytest.mark.parametrize("size", ["1024x1024", "1024x1536"])
    async def test_much_money_is_not(self, rig: Rig, size: str) -> None:
        rig.sandbox.script("cf_524;bought=1", role="api")

        answer = await order(rig, model="gpt-image-1", quality="high", size=size)

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert answer.header("x-should-retry") == "false"
        assert orders_asked(rig) == ["api"]
        row = await rig.row()
        assert (row.charged, row.state) == (0, "unknown")
        assert row.costs == [(TABLE["high"][size], "unknown")]
        assert (await rig.figures()).nano("gateway_upstream_cost_usd_total", reason="unknown") == TABLE["high"][size]

    async def test_nor_where_the_choice_of_the_dearest_is_the_upstreams(self, rig: Rig) -> None:
        rig.sandbox.script("cf_524", role="api")

        answer = await order(rig, model="gpt-image-1")

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert orders_asked(rig) == ["api"]

    async def test_of_many_cheap_ones_only_the_doubtful_is_bought_again(self, rig: Rig) -> None:
        rig.sandbox.script("cf_524;bought=1", role="api")

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024", n=5)

        assert len(answer.json()["data"]) == 5
        assert sorted(orders_asked(rig)) == ["api"] * 5 + ["proxy"]
        row = await rig.row()
        assert row.charged == 5 * (WORDS * 5_000 + 272 * 40_000)
        assert [cost for cost, why in row.costs if why == "suspected_duplicate"] == [TABLE["low"]["1024x1024"]]

    async def test_a_cheap_one_is_tried_elsewhere(self, rig: Rig) -> None:
        rig.sandbox.script("cf_524;bought=1", role="api")

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024")

        assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == BY_BACKUP
        assert orders_asked(rig) == ["api", "proxy"]
        row = await rig.row()
        paid = WORDS * 5_000 + 272 * 40_000
        assert row.charged == paid
        assert row.costs == [(TABLE["low"]["1024x1024"], "suspected_duplicate"), (paid, "billed")]

    async def test_what_was_surely_not_bought_may_be_as_dear_as_it_likes(self, rig: Rig) -> None:
        for role in PIAPI:
            rig.sandbox.script("cf_origin_down", role=role)

        answer = await order(rig, model="gpt-image-1", quality="high")

        assert answer.status == 200
        assert orders_asked(rig) == ["api", "proxy", "backup"]
        row = await rig.row()
        assert [cost for cost, _ in row.costs[:2]] == [0, 0]
        assert row.charged == row.upstream_cost == rig.sandbox.billed


class TestAStreamThatBreaks:
    async def events_until_the_image(self, rig: Rig, **fields: Any) -> int:
        """How many events the upstream sends until its answer holds the image: found out by asking it."""
        answer = await rig.chat(model="gpt-4o-image", stream=True, **fields)
        return next(number for number, event in enumerate(answer.events, 1) if b"![" in event)

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("fault", ["cut", "rst", "clean_eof"])
    async def test_before_the_image_is_made_good_elsewhere(self, rig: Rig, fault: str, stream: bool) -> None:
        rig.sandbox.script(f"{fault};after_events=5", role="api")

        answer = await order(rig, stream=stream, response_format="url")

        link = (json.loads(answer.payloads[-1]) if stream else answer.json()["data"][0])["url"]
        assert [link] == sandbox_links(rig, role="proxy")
        row = await rig.row()
        assert row.outcomes == ["sse_cut_early", "ok"]
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("fault", ["cut", "rst", "clean_eof"])
    async def test_after_the_image_has_brought_it(self, rig: Rig, fault: str, stream: bool) -> None:
        count = await self.events_until_the_image(rig)
        rig.sandbox.script(f"{fault};after_events={count}", role="api")

        answer = await order(rig, stream=stream, response_format="url")

        link = (json.loads(answer.payloads[-1]) if stream else answer.json()["data"][0])["url"]
        assert [link] == sandbox_links(rig)
        _, row = await rig.rows(2)
        assert (row.outcomes, row.charged, row.images, row.status) == (["ok"], IMAGE, 1, 200)
        assert orders_asked(rig) == ["api"] * 2

    async def test_of_a_whole_chat_after_the_image_leaves_nothing_to_be_charged(self, gateway: StartGateway) -> None:
        """Both hosts break off after the image; the client sees neither, so it pays for neither."""
        rig = await gateway(NO_BACKUP)
        count = await self.events_until_the_image(rig)
        rig.for_all_roles(f"cut;after_events={count}")

        answer = await rig.chat(model="gpt-4o-image")

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        _, row = await rig.rows(2)
        assert (row.charged, row.images, row.state) == (0, 0, "unknown")
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "unknown")]

    async def test_of_gpt_image_1_after_one_of_two_images_brings_that_one(self, rig: Rig) -> None:
        rig.sandbox.script("cut;after_events=0", role="api")

        answer = await order(rig, model="gpt-image-1", quality="high", size="1024x1024", n=2)

        assert answer.status == 200
        assert len(answer.json()["data"]) == 1
        row = await rig.row()
        assert (row.images, row.status) == (1, 200)
        assert sorted(row.outcomes) == ["ok", "sse_cut_early"]
        assert row.charged == WORDS * 5_000 + 4160 * 40_000  # for that one
        assert row.upstream_cost >= rig.sandbox.billed
        assert orders_asked(rig) == ["api", "api"]

    async def test_of_gpt_image_1_before_a_dear_image_is_told_as_a_doubt(self, rig: Rig) -> None:
        rig.sandbox.script("cut;after_events=1", role="api")

        answer = await order(rig, model="gpt-image-1", quality="high", stream=True, partial_images=2)

        assert answer.is_stream  # a preview was shown already
        assert json.loads(answer.payloads[0])["type"] == "image_generation.partial_image"
        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        assert orders_asked(rig) == ["api"]
        row = await rig.row()
        assert (row.charged, row.images) == (0, 0)
        assert [why for _, why in row.costs] == ["unknown"]
