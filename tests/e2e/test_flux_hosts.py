"""A Flux task and the hosts it is made at: whatever happens to one of them, a task is bought once and not lost."""

from __future__ import annotations

import openai
import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .faults import SECOND_KEY, TWO_KEYS
from .flux import ASK, CREATE, DEV, SCHNELL, TASKS, asked, check, created, hold, links, order, refused
from .harness import PIAPI_KEY, Rig, eventually
from .moments import start

KEYS = {"first": PIAPI_KEY, "second": SECOND_KEY}
CAREFUL = "failover: {unknown_outcome_up_to: 0.01}"
LOST = [
    ("cf_524", "cf_524"),
    ("cf_524;plain=1", "cf_524"),
    ("cloudflare;code=520", "cf_unknown"),
    ("server_error;shape=piapi", "upstream_5xx"),
    ("reset_before_head", "reused_conn_reset"),
    ("reset_before_head;reset=0", "reused_conn_reset"),
    ("garbage", "bad_http"),
    ("truncated_json", "bad_json"),
    ("html_200", "bad_content_type"),
    ("empty_body", "empty_response"),
]
"""What may stand in place of the answer to a creation, and what it is called: the task may have been made.

The connection is one that was used before: the account's limit was learned on it.
"""


class TestAHostThatDiesInMidTask:
    async def test_the_other_host_knows_the_task(self, rig: Rig) -> None:
        held = hold(rig)
        ordering = start(order(rig))
        await rig.sandbox.until(lambda: len(asked(rig)) >= 2)
        await rig.sandbox.refuse("api")
        held.cancel()

        assert len(links(await ordering)) == 1

        assert [request.role for request in created(rig)] == ["api"]
        assert asked(rig)[0].role == "api"
        assert asked(rig)[-1].role == "proxy"
        assert len({request.path for request in asked(rig)}) == 1
        row = await check(rig)
        assert row.endpoint == rig.sandbox.urls["api"]

    @pytest.mark.parametrize(
        "trouble",
        [
            "reset_before_head",
            "garbage",
            "html_200",
            "waf_block",
            "server_error",
            "cf_524",
            "rate_limited;retry_after=0",
            "rate_limited_bare",
            "key_invalid",
            "bad_json",
            "soft_error;code=500",
            "soft_error;code=404",
        ],
    )
    async def test_whatever_one_host_says_the_other_is_asked(self, trouble: str, rig: Rig) -> None:
        rig.sandbox.script(f"{trouble};{ASK}", role="api", times=None)

        assert len(links(await order(rig))) == 1

        assert [request.role for request in created(rig)] == ["api"]
        assert {request.role for request in asked(rig)} == {"api", "proxy"}
        await check(rig)

    @pytest.mark.parametrize(
        "troubles",
        [
            ("reset_before_head", "html_200", "reset_before_head", "cf_524"),
            ("rate_limited_bare", "rate_limited;retry_after=0", "html_200", "rate_limited_bare"),
            ("soft_error;code=500", "bad_json", "gateway_timeout", "garbage"),
        ],
    )
    async def test_both_hosts_are_asked_until_one_answers(self, troubles: tuple[str, ...], rig: Rig) -> None:
        for trouble in troubles:
            rig.sandbox.script(f"{trouble};{ASK}")

        assert len(links(await order(rig))) == 1

        assert [request.role for request in created(rig)] == ["api"]
        assert [request.role for request in asked(rig)][:5] == ["api", "proxy", "api", "proxy", "api"]
        assert len(asked(rig)) == len(troubles) + 3
        await check(rig)

    async def test_a_host_that_never_answers_a_question(self, gateway: StartGateway, sandbox: Sandbox) -> None:
        """The wall of the host that makes no promises ends the wait; nothing else of the work is lost."""
        api, proxy = sandbox.urls["api"], sandbox.urls["proxy"]
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{api}', wall: 300ms}}, {{url: '{proxy}'}}]}}}}")
        sandbox.script(f"stall_head;{ASK}", role="api", times=None)

        assert len(links(await order(rig))) == 1

        assert [request.role for request in created(rig)] == ["api"]
        assert {request.role for request in asked(rig)} == {"api", "proxy"}
        await check(rig)


class TestACreationWithoutAnAnswer:
    @pytest.mark.parametrize(("scenario", "slug"), LOST)
    async def test_is_made_once_more_elsewhere_when_little_is_at_stake(
        self, scenario: str, slug: str, rig: Rig
    ) -> None:
        rig.sandbox.script(f"{scenario};bought=1;{CREATE}", role="api")

        assert len(links(await order(rig))) == 1

        assert [request.role for request in created(rig)] == ["api", "proxy"]
        row = await check(
            rig,
            outcomes=[slug, "ok"],
            costs=[(DEV, "suspected_duplicate"), (DEV, "billed")],
            moved=[("piapi", slug)],
        )
        assert row.outcomes == [slug, "ok"]
        assert row.upstream_cost == rig.sandbox.billed
        assert row.task_id == asked(rig)[0].path.rpartition("/")[2]

    @pytest.mark.parametrize(("scenario", "slug"), LOST)
    async def test_is_never_made_twice_when_more_is_at_stake(
        self, scenario: str, slug: str, gateway: StartGateway
    ) -> None:
        rig = await gateway(CAREFUL)
        rig.sandbox.script(f"{scenario};{CREATE}", role="api")

        error = await refused(rig)

        status, code = (504, "upstream_outcome_unknown")
        if slug == "empty_response":
            status, code = (502, "upstream_empty_response")
        assert (error.status_code, error.type, error.code) == (status, "upstream_error", code)
        assert error.response.headers["x-should-retry"] == "false"
        assert len(created(rig)) == 1
        assert asked(rig) == []
        row = await check(
            rig,
            outcomes=[slug],
            charged=0,
            costs=[(DEV, "unknown")],
            images=0,
            state="unknown",
            confidence="unknown",
            status=status,
        )
        assert row.task_id is None

    async def test_on_a_new_connection_is_no_different(self, rig: Rig) -> None:
        rig.sandbox.script("until_close;path=/account/info")
        rig.sandbox.script(f"reset_before_head;bought=1;{CREATE}", role="api")
        assert len(links(await order(rig))) == 1
        assert created(rig)[0].nth == 1
        await check(
            rig,
            outcomes=["connection_reset", "ok"],
            costs=[(DEV, "suspected_duplicate"), (DEV, "billed")],
            moved=[("piapi", "connection_reset")],
        )

    async def test_is_not_made_a_third_time(self, rig: Rig) -> None:
        rig.sandbox.script(f"cf_524;{CREATE}", times=None)

        error = await refused(rig)

        assert (error.status_code, error.code) == (504, "upstream_outcome_unknown")
        assert [request.role for request in created(rig)] == ["api", "proxy"]
        await check(
            rig,
            outcomes=["cf_524", "cf_524"],
            charged=0,
            costs=[(DEV, "suspected_duplicate"), (DEV, "unknown")],
            images=0,
            state="unknown",
            confidence="unknown",
            status=504,
            moved=[("piapi", "cf_524")],
        )

    @pytest.mark.parametrize(("images", "creations"), [(2, 2), (4, 1)])
    async def test_the_stake_is_that_of_all_its_images(
        self, images: int, creations: int, gateway: StartGateway
    ) -> None:
        """Half a cent for an image of half the price is a chance worth taking, for four of them it is not."""
        rig = await gateway("failover: {unknown_outcome_up_to: 0.005}")
        rig.sandbox.script(f"cf_524;{CREATE}", role="api")

        if creations == 1:
            assert (await refused(rig, "flux-schnell", n=images)).code == "upstream_outcome_unknown"
        else:
            assert len(links(await order(rig, "flux-schnell", n=images))) == images

        assert len(created(rig)) == creations
        row = await rig.row()
        assert row.costs[0] == (images * SCHNELL, "unknown" if creations == 1 else "suspected_duplicate")

    async def test_that_never_reached_anybody_costs_nothing(self, rig: Rig) -> None:
        rig.sandbox.script(f"cf_origin_down;{CREATE}", role="api")
        assert len(links(await order(rig))) == 1
        await check(
            rig,
            outcomes=["cf_origin_down", "ok"],
            costs=[(0, "billed"), (DEV, "billed")],
            moved=[("piapi", "cf_origin_down")],
        )

    async def test_at_a_host_that_is_down_costs_nothing(self, rig: Rig) -> None:
        await rig.sandbox.refuse("api")
        assert len(links(await order(rig))) == 1
        await check(
            rig,
            outcomes=["connect_refused", "ok"],
            costs=[(0, "billed"), (DEV, "billed")],
            moved=[("piapi", "connect_refused")],
        )


class TestACreationThatIsRefused:
    async def test_by_a_code_inside_a_200(self, rig: Rig) -> None:
        """PiAPI's own words come through; the order is wrong, so nobody else is asked."""
        rig.sandbox.script(f"soft_error;code=400;message=failed to get valid image;{CREATE}")

        error = await refused(rig)

        assert isinstance(error, openai.BadRequestError)
        assert error.type == "invalid_request_error"
        assert "failed to get valid image" in error.message
        assert len(created(rig)) == 1
        await check(
            rig, outcomes=["rejected"], charged=0, costs=[(0, "billed")], images=0, state="released", status=400
        )

    @pytest.mark.parametrize(
        ("scenario", "slug"),
        [
            ("key_invalid;shape=piapi", "key_invalid"),
            ("key_unfunded;shape=piapi", "key_unfunded"),
            ("soft_error;code=402", "key_unfunded"),
            ("rate_limited;retry_after=30", "rate_limited"),
            ("soft_error;code=429", "rate_limited"),
        ],
    )
    async def test_to_one_key_is_made_with_the_next(self, scenario: str, slug: str, gateway: StartGateway) -> None:
        rig = await gateway(TWO_KEYS)
        rig.sandbox.script(f"{scenario};{CREATE}")

        assert len(links(await order(rig))) == 1

        first, second = created(rig)
        assert first.role == second.role == "api"
        assert {first.key, second.key} == set(KEYS.values())
        assert {request.key for request in asked(rig)} == {second.key}
        (task,) = rig.tasks()
        assert KEYS[task.credential] == second.key
        await check(rig, outcomes=[slug, "ok"], costs=[(0, "billed"), (DEV, "billed")])

    @pytest.mark.parametrize(
        ("scenario", "told"),
        [
            ("key_invalid", (502, "upstream_auth_failed")),
            ("key_unfunded", (503, "upstream_quota_exhausted")),
            ("rate_limited;retry_after=30", (429, "rate_limit_exceeded")),
        ],
    )
    async def test_to_every_key_is_told_and_costs_nothing(
        self, scenario: str, told: tuple[int, str], gateway: StartGateway
    ) -> None:
        rig = await gateway(TWO_KEYS)
        rig.sandbox.script(f"{scenario};{CREATE}", times=None)

        error = await refused(rig)

        assert (error.status_code, error.code) == told
        assert {request.key for request in created(rig)} == set(KEYS.values())
        row = await rig.row()
        assert (row.state, row.charged, row.upstream_cost) == ("released", 0, 0)


async def test_the_task_is_asked_for_with_the_key_that_made_it(gateway: StartGateway) -> None:
    rig = await gateway(TWO_KEYS)
    for _ in range(4):
        await order(rig)
    await eventually(lambda: len(rig.tasks()) == 4, "four tasks in the ledger")
    made_with = {task.task_id: KEYS[task.credential] for task in rig.tasks()}
    assert {request.path.removeprefix(f"{TASKS}/"): request.key for request in asked(rig)} == made_with
