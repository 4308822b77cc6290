"""Several Flux images at once: which tasks they become, and what follows when some of them fail."""

from __future__ import annotations

import openai
import pytest

from .conftest import StartGateway
from .flux import CREATE, DEV, SCHNELL, check, created, hold, links, order, refused
from .harness import PIAPI_KEY, Rig
from .moments import start

CAREFUL = "failover: {unknown_outcome_up_to: 0.01}"


class TestWhichTasksAnOrderBecomes:
    @pytest.mark.parametrize(
        ("images", "batches"),
        [(1, [1]), (3, [3]), (4, [4]), (5, [1, 4]), (6, [2, 4]), (10, [2, 4, 4])],
    )
    async def test_schnell_makes_up_to_four_a_task(self, images: int, batches: list[int], rig: Rig) -> None:
        assert len(links(await order(rig, "flux-schnell", n=images))) == images

        assert sorted(request.json["input"].get("batch_size", 1) for request in created(rig)) == batches
        row = await check(
            rig,
            outcomes=["ok"] * len(batches),
            charged=images * SCHNELL,
            costs=[(batch * SCHNELL, "billed") for batch in batches],
            images=images,
        )
        assert {task.exchange for task in rig.tasks()} == {row.id}
        assert len(rig.tasks()) == len(batches)
        assert row.upstream_cost == rig.sandbox.billed

    async def test_dev_makes_one_a_task_and_they_run_side_by_side(self, rig: Rig) -> None:
        held = hold(rig)
        ordering = start(order(rig, n=3))
        await rig.sandbox.until(lambda: len(created(rig)) == 3)
        held.cancel()

        assert len(links(await ordering)) == 3

        assert rig.sandbox.tasks.most_at_once(PIAPI_KEY) == 3
        assert [request.json["input"].get("batch_size", 1) for request in created(rig)] == [1, 1, 1]
        row = await check(rig, outcomes=["ok"] * 3, charged=3 * DEV, costs=[(DEV, "billed")] * 3, images=3)
        assert {task.exchange for task in rig.tasks()} == {row.id}
        assert row.task_id in {task.task_id for task in rig.tasks()}

    async def test_batch_size_says_how_many_as_well(self, rig: Rig) -> None:
        assert len(links(await order(rig, "flux-schnell", extra_body={"batch_size": 3}))) == 3
        await check(rig, charged=3 * SCHNELL, costs=[(3 * SCHNELL, "billed")], images=3)


class TestWhenSomeFail:
    async def test_the_client_gets_what_came_and_pays_for_that(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_failed;{CREATE}")

        answer = await rig.openai().images.with_raw_response.generate(model="flux-dev", prompt="a bear", n=3)

        assert len(links(answer.parse())) == 2
        assert answer.headers["x-gateway-cost-usd"] == "0.03"
        row = await check(
            rig,
            outcomes=["task_failed", "ok", "ok"],
            charged=2 * DEV,
            costs=[(0, "billed"), (DEV, "billed"), (DEV, "billed")],
            images=2,
        )
        assert row.charged == rig.sandbox.billed

    async def test_a_batch_that_fails_beside_one_that_does_not(self, rig: Rig) -> None:
        held = hold(rig)
        ordering = start(order(rig, "flux-schnell", n=6))
        rig.sandbox.script(f"task_nsfw;{CREATE}")
        await rig.sandbox.until(lambda: len(created(rig)) == 2)
        held.cancel()

        came = len(links(await ordering))

        assert came == created(rig)[1].json["input"]["batch_size"]
        await check(
            rig,
            outcomes=["content_policy", "ok"],
            charged=came * SCHNELL,
            costs=[(0, "billed"), (came * SCHNELL, "billed")],
            images=came,
        )

    async def test_one_that_may_have_been_made_is_our_loss(self, gateway: StartGateway) -> None:
        rig = await gateway(CAREFUL)
        rig.sandbox.script(f"cf_524;bought=1;{CREATE}")

        assert len(links(await order(rig, n=3))) == 2

        row = await check(
            rig,
            outcomes=["cf_524", "ok", "ok"],
            charged=2 * DEV,
            costs=[(DEV, "unknown"), (DEV, "billed"), (DEV, "billed")],
            images=2,
            confidence="estimated",
        )
        assert row.upstream_cost == rig.sandbox.billed

    async def test_each_subrequest_finds_its_own_way(self, rig: Rig) -> None:
        """One creation is lost; that subrequest alone goes to the other host, the others are not disturbed."""
        rig.sandbox.script(f"cf_524;bought=1;{CREATE}")

        assert len(links(await order(rig, n=3))) == 3

        assert sorted(request.role for request in created(rig)) == ["api", "api", "api", "proxy"]
        row = await check(
            rig,
            outcomes=["cf_524", "ok", "ok", "ok"],
            charged=3 * DEV,
            costs=[(DEV, "suspected_duplicate"), *[(DEV, "billed")] * 3],
            images=3,
            moved=[("piapi", "cf_524")],
        )
        assert row.upstream_cost == rig.sandbox.billed


class TestWhenAllFail:
    async def test_it_is_an_error_and_costs_nothing(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_failed;{CREATE}", times=None)

        error = await refused(rig, n=3)

        assert (error.status_code, error.code) == (502, "upstream_error")
        assert len(created(rig)) == 3
        await check(
            rig,
            outcomes=["task_failed"] * 3,
            charged=0,
            costs=[(0, "billed")] * 3,
            images=0,
            state="released",
            status=502,
        )

    async def test_a_refusal_is_told_as_one(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_nsfw;{CREATE}", times=None)
        error = await refused(rig, n=2)
        assert isinstance(error, openai.BadRequestError)
        assert error.code == "content_policy_violation"

    async def test_what_may_have_been_bought_is_not_made_light_of(self, gateway: StartGateway) -> None:
        """One task failed for nothing, of the other nobody knows: the client must not be invited to buy it again."""
        rig = await gateway(CAREFUL)
        rig.sandbox.script(f"rate_limited;retry_after=30;{CREATE}")
        rig.sandbox.script(f"cf_524;{CREATE}")

        error = await refused(rig, n=2)

        assert (error.status_code, error.code) == (504, "upstream_outcome_unknown")
        assert error.response.headers["x-should-retry"] == "false"
        await check(
            rig,
            outcomes=["rate_limited", "cf_524"],
            charged=0,
            costs=[(0, "billed"), (DEV, "unknown")],
            images=0,
            state="unknown",
            confidence="unknown",
            status=504,
        )

    async def test_a_harmless_failure_does_not_hide_a_doubt(self, gateway: StartGateway) -> None:
        rig = await gateway(CAREFUL)
        rig.sandbox.script(f"task_failed;{CREATE}")
        rig.sandbox.script(f"cf_524;{CREATE}")

        error = await refused(rig, n=2)

        assert (error.status_code, error.code) == (504, "upstream_outcome_unknown")
        assert "buy it once more" in error.message
