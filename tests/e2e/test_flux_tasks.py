"""How a Flux task may end, and what the client, the books and the metrics are told of it."""

from __future__ import annotations

import base64

import httpx2
import openai
import pytest

from .conftest import StartGateway
from .flux import CREATE, DEV, SCHNELL, asked, check, created, links, order, refused
from .harness import PIAPI_KEY, Rig

BACKUP_TOO = """
models:
  flux-dev:
    targets:
      - {upstream: piapi, model: Qubico/flux1-dev, operation: task, price: {image: 0.015}}
      - {upstream: backup, model: gpt-image-1, operation: images, price: {image: 0.04}}
"""
BACKUP = 40_000_000
IMPATIENT = "upstreams: {piapi: {tasks: {deadline: 500ms}}}"


class TestATaskThatSucceeds:
    async def test_is_created_once_asked_after_and_charged_by_its_points(self, rig: Rig) -> None:
        answer = await rig.openai().images.with_raw_response.generate(model="flux-dev", prompt="a bear")

        assert links(answer.parse())[0].startswith(rig.sandbox.urls["api"])
        assert answer.parse().size == "1024x1024"
        assert answer.headers["x-gateway-cost-usd"] == "0.015"
        assert (answer.headers["x-gateway-upstream"], answer.headers["x-gateway-attempts"]) == ("piapi", "1")
        (create,) = created(rig)
        assert create.json == {
            "model": "Qubico/flux1-dev",
            "task_type": "txt2img",
            "input": {"prompt": "a bear", "width": 1024, "height": 1024},
        }
        assert len(asked(rig)) == 3
        assert {request.get(b"x-api-key") for request in (create, *asked(rig))} == {PIAPI_KEY.encode()}
        assert not any(request.get(b"authorization") for request in (create, *asked(rig)))
        row = await check(rig)
        assert row.task_id is not None
        assert {request.path for request in asked(rig)} == {f"/api/v1/task/{row.task_id}"}
        assert rig.sandbox.billed == row.upstream_cost

    async def test_is_asked_after_once_if_it_is_done_by_then(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;polls=0;{CREATE}")
        assert len(links(await order(rig))) == 1
        assert len(asked(rig)) == 1
        await check(rig)

    @pytest.mark.parametrize("vocabulary", ["docs", "lower", "legacy", "odd"])
    async def test_whatever_words_its_states_are_told_in(self, vocabulary: str, rig: Rig) -> None:
        rig.sandbox.script(f"ok;polls=7;vocabulary={vocabulary};{CREATE}")

        assert len(links(await order(rig))) == 1

        assert len(asked(rig)) == 8
        await check(rig)

    @pytest.mark.parametrize("wanted", ["url", "b64_json"])
    @pytest.mark.parametrize("shape", ["url", "urls", "images", "base64", "legacy", "data"])
    async def test_wherever_its_image_stands(self, shape: str, wanted: str, rig: Rig) -> None:
        rig.sandbox.script(f"ok;shape={shape};{CREATE}")

        answer = await order(rig, size="512x256", response_format=wanted)

        [image] = answer.data or []
        if wanted == "url":
            assert image.url is not None
            kept_here = image.url.startswith(f"{rig.gateway.main_url}/images/")
            assert kept_here == (shape == "base64")
            async with httpx2.AsyncClient() as http:
                found = await http.get(image.url)
            assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
            data = found.content
        else:
            assert image.url is None
            data = base64.b64decode(image.b64_json or "")
        assert data[:4] == b"\x89PNG"
        assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (512, 256)
        await check(rig)

    @pytest.mark.parametrize("shape", ["url", "urls", "images", "legacy"])
    async def test_all_images_of_a_batch_wherever_they_stand(self, shape: str, rig: Rig) -> None:
        rig.sandbox.script(f"ok;shape={shape};{CREATE}")

        answer = await order(rig, "flux-schnell", n=4, size="256x256", response_format="b64_json")

        images = [base64.b64decode(image.b64_json or "") for image in answer.data or ()]
        assert len(images) == len(set(images)) == 4
        (create,) = created(rig)
        assert create.json["input"]["batch_size"] == 4
        await check(rig, charged=4 * SCHNELL, costs=[(4 * SCHNELL, "billed")], images=4)

    async def test_its_own_points_come_before_the_price_list(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=12345;{CREATE}")
        await order(rig)
        await check(rig, charged=1_234_500, costs=[(1_234_500, "billed")])

    async def test_without_points_the_price_list_counts_its_images(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=0;{CREATE}")
        assert len(links(await order(rig, "flux-schnell", n=3))) == 3
        total = 3 * SCHNELL
        await check(rig, charged=total, costs=[(total, "billed")], images=3, confidence="estimated")


class TestATaskThatFails:
    async def test_after_five_polls_is_told_in_its_own_words_and_costs_nothing(self, rig: Rig) -> None:
        rig.sandbox.script(f"task_failed;polls=5;{CREATE}")

        error = await refused(rig)

        assert isinstance(error, openai.InternalServerError)
        assert (error.status_code, error.type, error.code) == (502, "upstream_error", "upstream_error")
        assert error.response.headers["x-should-retry"] == "false"
        assert isinstance(error.body, dict)
        assert error.body["message"] == "task failed"
        assert len(created(rig)) == 1
        assert len(asked(rig)) == 6
        row = await check(
            rig,
            outcomes=["task_failed"],
            charged=0,
            costs=[(0, "billed")],
            images=0,
            state="released",
            status=502,
        )
        assert row.task_id is not None
        assert rig.sandbox.billed == 0
        [line] = await rig.log_lines("attempt")
        assert line["task_id"] == row.task_id
        assert "task failed" in line["detail"]

    async def test_with_a_backup_the_backup_makes_the_image(self, gateway: StartGateway) -> None:
        rig = await gateway(BACKUP_TOO)
        rig.sandbox.script(f"task_failed;{CREATE}")

        (link,) = links(await order(rig))

        assert len(created(rig)) == 1
        assert [request.path for request in rig.sandbox.requests if request.role == "backup"] == [
            "/v1/images/generations"
        ]
        async with httpx2.AsyncClient() as http:
            kept = await http.get(link)
        assert link.startswith(f"{rig.gateway.main_url}/images/")
        assert kept.content[:4] == b"\x89PNG"
        row = await check(
            rig,
            outcomes=["task_failed", "ok"],
            charged=BACKUP,
            costs=[(0, "billed"), (BACKUP, "billed")],
            moved=[("backup", "task_failed")],
        )
        assert row.upstream == "backup"

    async def test_for_what_it_shows_is_a_matter_of_policy(self, gateway: StartGateway) -> None:
        """Nobody else is asked to paint what one upstream has refused."""
        rig = await gateway(BACKUP_TOO)
        rig.sandbox.script(f"task_nsfw;{CREATE}")

        error = await refused(rig)

        assert isinstance(error, openai.BadRequestError)
        assert (error.code, error.type) == ("content_policy_violation", "image_generation_user_error")
        assert "NSFW content detected" in error.message
        assert [request.role for request in rig.sandbox.requests if request.role == "backup"] == []
        await check(
            rig,
            outcomes=["content_policy"],
            charged=0,
            costs=[(0, "billed")],
            images=0,
            state="released",
            status=400,
        )


class TestATaskThatIsNeverDone:
    @pytest.mark.parametrize("models", ["", BACKUP_TOO], ids=["alone", "with a backup"])
    async def test_may_have_been_bought_and_is_not_bought_again(self, models: str, gateway: StartGateway) -> None:
        rig = await gateway(IMPATIENT + models)
        rig.sandbox.script(f"task_never;{CREATE}")

        error = await refused(rig)

        assert (error.status_code, error.type, error.code) == (504, "upstream_error", "upstream_outcome_unknown")
        assert error.response.headers["x-should-retry"] == "false"
        assert len(created(rig)) == 1
        assert asked(rig)
        assert all(request.role == "api" for request in rig.sandbox.requests)
        row = await check(
            rig,
            outcomes=["task_poll"],
            charged=0,
            costs=[(DEV, "unknown")],
            images=0,
            state="unknown",
            confidence="unknown",
            status=504,
        )
        assert row.task_id == asked(rig)[0].path.rpartition("/")[2]

    async def test_its_creation_that_is_never_answered(self, gateway: StartGateway) -> None:
        rig = await gateway(IMPATIENT)
        rig.sandbox.script(f"stall_head;{CREATE}")

        error = await refused(rig)

        assert (error.status_code, error.code) == (504, "upstream_outcome_unknown")
        row = await check(
            rig,
            outcomes=["deadline"],
            charged=0,
            costs=[(DEV, "unknown")],
            images=0,
            state="unknown",
            confidence="unknown",
            status=504,
        )
        assert row.task_id is None


class TestATaskThatIsDone:
    async def test_without_an_image_is_an_empty_answer(self, rig: Rig) -> None:
        """The upstream says that it is done and takes its price: that is our loss, and not bought a second time."""
        rig.sandbox.script(f"ok;task=empty;{CREATE}")

        error = await refused(rig)

        assert (error.status_code, error.type, error.code) == (502, "upstream_error", "upstream_empty_response")
        assert error.response.headers["x-should-retry"] == "false"
        assert len(created(rig)) == 1
        row = await check(
            rig,
            outcomes=["empty_response"],
            charged=0,
            costs=[(DEV, "billed")],
            images=0,
            state="settled",
            status=502,
        )
        assert row.task_id is not None
        assert row.upstream_cost == rig.sandbox.billed

    async def test_but_its_image_cannot_be_fetched(self, rig: Rig) -> None:
        """It was made and is paid for; the client gets its link, and nothing is bought again."""
        rig.sandbox.script("status;code=410;path=/files/", times=None)

        raw = await rig.openai().images.with_raw_response.generate(
            model="flux-schnell", prompt="a cat", response_format="b64_json"
        )

        [image] = raw.parse().data or []
        assert image.b64_json is None
        assert "/files/" in (image.url or "")
        assert raw.headers["x-gateway-note"] == "link_instead_of_b64"
        assert len(created(rig)) == 1
        row = await rig.row()
        assert (row.outcomes, row.status) == (["ok"], 200)
        assert row.charged == rig.sandbox.billed


async def test_a_creation_without_a_task_id_may_have_bought_something(rig: Rig) -> None:
    """Nobody can ask after it, so it is a loss like an answer that never came: once more elsewhere, if cheap."""
    rig.sandbox.script(f"task_nameless;{CREATE}")

    assert len(links(await order(rig))) == 1

    assert [request.role for request in created(rig)] == ["api", "proxy"]
    row = await check(
        rig,
        outcomes=["task_unknown", "ok"],
        costs=[(DEV, "suspected_duplicate"), (DEV, "billed")],
        moved=[("piapi", "task_unknown")],
    )
    assert row.upstream_cost == rig.sandbox.billed
    assert row.task_id == asked(rig)[0].path.rpartition("/")[2]
