"""The selection of scenarios: what decides, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox import SCENARIOS, Sandbox, ScenarioError
from gateway.sandbox.faults.selection import RANDOM_FAULTS
from tests.sandbox.client import HELLO, ask
from tests.sandbox.task_client import TASK


def marked(marker: str, role: str = "user") -> dict[str, Any]:
    return {**HELLO, "messages": [{"role": role, "content": f"hello {marker}"}, *HELLO["messages"]]}


async def status(sandbox: Sandbox, content: Any = None, scenario: str | None = None, **options: Any) -> int:
    return (await ask(sandbox, HELLO if content is None else content, scenario, **options)).status


async def test_scripts_are_met_in_the_order_they_were_queued(sandbox: Sandbox) -> None:
    first = sandbox.script("status;code=500")
    sandbox.script("status;code=503", times=2)

    assert [await status(sandbox) for _ in range(4)] == [500, 503, 503, 200]
    assert first.used == 1


async def test_a_script_meets_only_what_it_matches(sandbox: Sandbox) -> None:
    for_model = sandbox.script("status;code=500", model="gpt-4o-mini", times=None)
    sandbox.script("status;code=501", key="second", times=None)
    sandbox.script("status;code=502", role="backup", times=None)
    sandbox.script("status;code=503", path="/v1/models", times=None)

    assert await status(sandbox) == 200
    assert await status(sandbox, {**HELLO, "model": "gpt-4o-mini"}) == 500
    assert await status(sandbox, key="sk-second-key") == 501
    assert await status(sandbox, role="backup") == 502
    assert await status(sandbox, b"", method="GET", path="/v1/models") == 503
    for_model.cancel()
    assert await status(sandbox, {**HELLO, "model": "gpt-4o-mini"}) == 200
    sandbox.clear_scripts()
    assert await status(sandbox, role="backup") == 200


async def test_a_script_with_a_typing_error_fails_at_once(sandbox: Sandbox) -> None:
    with pytest.raises(ScenarioError):
        sandbox.script("cutt")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sk-sandbox-invalid-1", 401),
        ("sk-sandbox-broke", 402),
        ("sk-sandbox-forbidden", 403),
        ("sk-sandbox-limited", 429),
        ("sk-sandbox-flaky", 500),
        ("sk-fine", 200),
    ],
)
async def test_special_keys_have_their_fate(sandbox: Sandbox, key: str, expected: int) -> None:
    assert await status(sandbox, key=key) == expected


async def test_a_marker_in_a_users_message_chooses(sandbox: Sandbox) -> None:
    assert await status(sandbox, marked("[[sandbox: status;code=503]]")) == 503
    assert await status(sandbox, marked("[[sandbox: status;code=503]]", role="system")) == 200
    parts = [{"type": "text", "text": "[[sandbox: status;code=503]]"}]
    assert await status(sandbox, {**HELLO, "messages": [{"role": "user", "content": parts}]}) == 503


async def test_a_marker_may_hold_for_one_role_or_so_many_times(sandbox: Sandbox) -> None:
    only_api = marked("[[sandbox: status;code=503;role=api]]")
    assert [await status(sandbox, only_api, role=role) for role in ("api", "proxy", "backup")] == [503, 200, 200]

    twice = marked("[[sandbox: status;code=503;times=2]]")
    assert [await status(sandbox, twice) for _ in range(3)] == [503, 503, 200]

    two_markers = marked("[[sandbox: status;code=503;role=api]][[sandbox: status;code=429;role=proxy]]")
    assert [await status(sandbox, two_markers, role=role) for role in ("api", "proxy", "backup")] == [503, 429, 200]


async def test_scenarios_may_hold_for_a_method_and_a_beginning_of_paths(sandbox: Sandbox) -> None:
    async def statuses() -> list[int]:
        created = await ask(sandbox, TASK, path="/api/v1/task")
        looks = [await ask(sandbox, method="GET", path="/api/v1/task/0", role=role) for role in ("api", "proxy")]
        return [created.status, *(look.status for look in looks), await status(sandbox)]

    sandbox.set_default("status;code=524;method=POST;path=/api/v1/task;role=api;times=1")
    assert await statuses() == [524, 404, 404, 200]
    assert await statuses() == [200, 404, 404, 200]

    sandbox.set_default("status;code=503;method=GET;path=/api/v1/task;role=api")
    assert await statuses() == [200, 503, 404, 200]

    sandbox.set_default("ok")
    sandbox.script("status;code=503;method=GET;role=proxy", times=None)
    assert await statuses() == [200, 404, 503, 200]


async def test_a_scripts_own_times_win(sandbox: Sandbox) -> None:
    script = sandbox.script("status;code=503;times=2")

    assert [await status(sandbox) for _ in range(3)] == [503, 503, 200]
    assert script.used == 2


async def test_an_early_default_holds_only_where_it_is_meant(sandbox: Sandbox) -> None:
    sandbox.set_default("early_close;path=/api/;times=1")

    assert await status(sandbox) == 200
    assert [(await ask(sandbox, TASK, path="/api/v1/task")).status for _ in range(2)] == [413, 200]


@pytest.mark.parametrize("field", ["prompt", "input"])
async def test_a_marker_in_the_prompt_of_an_image_chooses(sandbox: Sandbox, field: str) -> None:
    prompt = "a fox [[sandbox: status;code=503]]"
    body = {"prompt": prompt} if field == "prompt" else {"input": {"prompt": prompt}}

    assert await status(sandbox, body, path="/v1/images/generations") == 503


async def test_a_marker_in_a_form_chooses(sandbox: Sandbox) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    for name, expected in ((b"prompt", 503), (b"other", 400)):
        body = part % (name, b"[[sandbox: status;code=503]]") + b"--b--\r\n"
        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert await status(sandbox, body, path="/v1/images/edits", headers=headers) == expected


async def test_the_header_comes_first_then_scripts_then_keys_then_markers_then_the_default() -> None:
    async with Sandbox(scenario="status;code=501") as sandbox:
        assert await status(sandbox) == 501
        content = marked("[[sandbox: status;code=502]]")
        assert await status(sandbox, content) == 502
        assert await status(sandbox, content, key="sk-sandbox-broke") == 402
        sandbox.script("status;code=503", times=None)
        assert await status(sandbox, content, key="sk-sandbox-broke") == 503
        assert await status(sandbox, content, "ok", key="sk-sandbox-broke") == 200


async def test_the_default_can_change_and_run_out(sandbox: Sandbox) -> None:
    sandbox.set_default("status;code=500;times=1")

    assert [await status(sandbox) for _ in range(2)] == [500, 200]


async def test_an_early_default_or_script_needs_no_header() -> None:
    async with Sandbox(scenario="early_close;code=400") as sandbox:
        assert await status(sandbox) == 400
    async with Sandbox() as sandbox:
        sandbox.script("early_close")
        assert [await status(sandbox) for _ in range(2)] == [413, 200]


async def test_a_wrong_header_or_marker_is_answered_with_what_is_wrong(sandbox: Sandbox) -> None:
    for content, scenario in ((HELLO, "cutt"), (marked("[[sandbox: cutt]]"), None)):
        received = await ask(sandbox, content, scenario)
        assert received.status == 400
        assert received.json["error"]["code"] == "unknown_scenario"
        assert "no scenario 'cutt'" in received.json["error"]["message"]


async def test_a_marker_in_what_is_no_message_is_no_marker(sandbox: Sandbox) -> None:
    for messages in (5, "[[sandbox: cut]]", [5], [{"role": "user", "content": [5, {"type": "text"}]}], None):
        content = {"messages": messages, "x": "[[sandbox: status;code=503]]"}
        assert await status(sandbox, content) == 400


async def test_random_faults_repeat_with_their_seed() -> None:
    async def played(seed: int, share: float) -> list[str]:
        async with Sandbox(scenario=f"random_faults;seed={seed};share={share}") as sandbox:
            for _ in range(30):
                await ask(sandbox, HELLO)
            return [request.scenario for request in sandbox.requests]

    once, again, other = await played(1, 0.5), await played(1, 0.5), await played(2, 0.5)
    assert once == again != other
    assert 5 < once.count("ok") < 25
    assert set(await played(3, 0.0)) == {"ok"}
    assert "ok" not in await played(3, 1.0)


def test_random_faults_hold_only_what_a_crowd_survives() -> None:
    for choice in RANDOM_FAULTS:
        assert choice.values.get("seconds", 0) == 0, f"{choice.name} is silent"
        assert SCENARIOS[choice.name].fault_row not in (7, 8, 9, 15, 16), f"{choice.name} cools a key"


async def test_a_seed_repeats_the_sequence_of_random_faults() -> None:
    async def sequence(sandbox: Sandbox) -> list[str]:
        before = len(sandbox.requests)
        for _ in range(12):
            await ask(sandbox, HELLO)
        return [request.scenario for request in sandbox.requests[before:]]

    async with Sandbox(scenario="random_faults;share=0.5;seed=1") as sandbox:
        first = await sequence(sandbox)
        sandbox.reseed(1)
        again = await sequence(sandbox)
        sandbox.reseed(2)
        other = await sequence(sandbox)

    assert len(set(first)) > 2
    assert again == first
    assert other != first


class TestTheListOfModels:
    """A gateway asks for it of its own accord, so what a test plays for its requests does not meet it."""

    async def listed(self, sandbox: Sandbox, **options: Any) -> int:
        return (await ask(sandbox, method="GET", path="/v1/models", **options)).status

    async def test_is_met_by_what_names_its_path_only(self, sandbox: Sandbox) -> None:
        sandbox.set_default("status;code=500")
        script = sandbox.script("status;code=501")
        sandbox.script("status;code=502;path=/v1/models")
        sandbox.script("status;code=503", path="/v1/models")
        assert [await self.listed(sandbox) for _ in range(3)] == [502, 503, 200]
        assert script.used == 0
        assert [await status(sandbox) for _ in range(2)] == [501, 500]
        sandbox.set_default("status;code=504;path=/v1/models")
        assert [await self.listed(sandbox), await status(sandbox)] == [504, 200]

    async def test_has_scenarios_of_its_own_which_meet_nothing_else(self, sandbox: Sandbox) -> None:
        script = sandbox.script("model_list_none", times=2)
        assert [await status(sandbox), await self.listed(sandbox), await self.listed(sandbox)] == [200, 404, 404]
        assert script.used == 2
        sandbox.set_default("model_list_none")
        assert [await status(sandbox), await self.listed(sandbox)] == [200, 404]

    @pytest.mark.parametrize(("key", "expected"), [("sk-sandbox-invalid", 401), ("sk-sandbox-broke", 200)])
    async def test_minds_only_a_wrong_key(self, sandbox: Sandbox, key: str, expected: int) -> None:
        assert await self.listed(sandbox, key=key) == expected

    async def test_is_kept_apart_from_what_was_asked_for(self, sandbox: Sandbox) -> None:
        await status(sandbox)
        await self.listed(sandbox)
        await status(sandbox)
        assert [request.number for request in sandbox.requests] == [0, 1]
        assert [request.path for request in sandbox.listings] == ["/v1/models"]
        assert [line.number for line in sandbox.bill] == [0, 1]
