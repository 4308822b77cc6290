"""The admin listener as an operator and a scraper see it, and what nobody must ever see: a key."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.sandbox import Sandbox

from .running import BOB_KEY, Answer, Gateway, ask, chat, command, new_client, settings, store_bytes, write

ADMIN_KEY = "admin-0123456789abcdef-secret"
AS_ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
ADMIN_ROUTES = {
    "/metrics": "GET",
    "/admin/v1/usage": "GET",
    "/admin/v1/upstreams": "GET",
    "/admin/v1/keys": "GET",
    "/admin/v1/verify": "GET",
    "/admin/v1/held": "GET",
    "/admin/v1/audit": "GET",
    "/admin/v1/reload": "POST",
}

METRICS = {
    "gateway_requests_total": ("counter", {"route", "model", "upstream", "status", "key", "team"}),
    "gateway_cost_usd_total": ("counter", {"key", "team", "model", "upstream"}),
    "gateway_upstream_cost_usd_total": ("counter", {"upstream", "model", "reason"}),
    "gateway_tokens_total": ("counter", {"key", "team", "model", "upstream", "type"}),
    "gateway_images_total": ("counter", {"key", "team", "model", "upstream"}),
    "gateway_request_duration_seconds": ("histogram", {"route", "model", "upstream"}),
    "gateway_time_to_first_token_seconds": ("histogram", {"model", "upstream"}),
    "gateway_overhead_seconds": ("histogram", {"route"}),
    "gateway_upstream_attempts_total": ("counter", {"upstream", "endpoint", "outcome"}),
    "gateway_failovers_total": ("counter", {"model", "from", "to", "reason"}),
    "gateway_endpoint_available": ("gauge", {"upstream", "endpoint"}),
    "gateway_upstream_key_available": ("gauge", {"upstream", "upstream_key"}),
    "gateway_requests_in_flight": ("gauge", {"route"}),
    "gateway_ledger_rows_pending": ("gauge", set()),
    "gateway_event_loop_lag_seconds": ("gauge", set()),
    "gateway_build_info": ("gauge", {"version"}),
}


async def test_every_metric_of_the_contract_with_its_labels(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        sandbox.script("server_error", role="api")
        image = await ask(client, gateway, chat("a red cube", model="gpt-4o-image"))
        assert image.status == 200
        sandbox.script("server_error", role="api")
        assert (await ask(client, gateway, chat(stream=True))).events[-1] == "[DONE]"
        assert (await ask(client, gateway, chat(model="no-such-model"))).status == 404
        async with new_client("not-a-key") as stranger:
            assert (await ask(stranger, gateway, chat())).status == 401
        scraped = await client.get(f"{gateway.admin}/metrics")
        open_metrics = await client.get(
            f"{gateway.admin}/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"}
        )
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
    assert "_created" not in scraped.text + open_metrics.text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", scraped.text, re.M))
    samples = [sample for family in text_string_to_metric_families(scraped.text) for sample in family.samples]
    for name, (kind, labels) in METRICS.items():
        assert kinds[name] == kind, name
        own = [sample for sample in samples if re.fullmatch(rf"{name}(_bucket|_sum|_count)?", sample.name)]
        assert own, f"{name} has no sample"
        assert all(set(sample.labels) - {"le"} == labels for sample in own), name
    _check_labels(samples, sandbox)


def _check_labels(samples: list[Any], sandbox: Sandbox) -> None:
    """Only what is configured, ``other`` and ``anonymous`` ever stand in a label."""
    requests = {
        (sample.labels["model"], sample.labels["status"], sample.labels["key"], sample.labels["team"]): sample.value
        for sample in samples
        if sample.name == "gateway_requests_total"
    }
    assert requests[("gpt-4o-image", "200", "alice", "growth")] == 1
    assert requests[("gpt-4o-mini", "200", "alice", "growth")] == 1
    assert requests[("other", "404", "alice", "growth")] == 1
    assert "no-such-model" not in {model for model, *_ in requests}
    endpoints = {sample.labels["endpoint"] for sample in samples if "endpoint" in sample.labels}
    assert endpoints == set(sandbox.urls.values())
    pool = {sample.labels["upstream_key"] for sample in samples if "upstream_key" in sample.labels}
    assert {"first", "second"} < pool
    buckets = [float(each.labels["le"]) for each in samples if each.name == "gateway_request_duration_seconds_bucket"]
    assert 900.0 in buckets


async def test_every_admin_route_asks_for_the_admin_key(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path, admin={"listen": "127.0.0.1:0", "key": ADMIN_KEY}))
    async with Gateway.serve(tmp_path) as gateway, new_client() as alice:
        for path, method in ADMIN_ROUTES.items():
            wrong = {"authorization": f"Bearer {ADMIN_KEY[:-1]}"}
            elsewhere = {"authorization": "", "x-api-key": ADMIN_KEY}
            for headers in ({}, wrong, {"authorization": f"Basic {ADMIN_KEY}"}, elsewhere):
                refused = await alice.request(method, gateway.admin + path, headers=headers)
                assert refused.status_code in (401, 429), path  # the latter after ten wrong ones in a minute
                code = refused.json()["error"]["code"]
                assert code == ("invalid_api_key" if refused.status_code == 401 else "rate_limit_exceeded")
            assert (await alice.request(method, gateway.admin + path, headers=AS_ADMIN)).status_code == 200, path
            on_main = await alice.request(method, gateway.url + path, headers=AS_ADMIN)
            assert on_main.status_code == 404, f"{path} must not exist on the main listener"
        assert (await alice.get(f"{gateway.admin}/v1/models")).status_code == 404
        as_client = await alice.get(f"{gateway.url}/v1/models", headers=AS_ADMIN)
        assert as_client.status_code == 401  # the admin key buys nothing
        (tmp_path / "elsewhere").mkdir()
        for key, code in ((ADMIN_KEY, 0), ("", 1)):
            place = {"listen": gateway.admin.removeprefix("http://"), "key": key}
            write(tmp_path / "elsewhere", {"admin": place})
            shown = await command(tmp_path / "elsewhere", "status", "--json")
            assert shown.code == code
            assert ADMIN_KEY not in shown.out + shown.err
        assert "admin.key" in shown.err


async def test_metrics_alone_may_be_left_open(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    admin = {"listen": "127.0.0.1:0", "key": ADMIN_KEY, "open_metrics": True}
    write(tmp_path, settings(sandbox, tmp_path, admin=admin))
    async with Gateway.serve(tmp_path) as gateway:
        for path, method in ADMIN_ROUTES.items():
            answer = await client.request(method, gateway.admin + path, headers={"authorization": ""})
            assert answer.status_code == (200 if path == "/metrics" else 401)


async def test_usage_upstreams_and_keys(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client(BOB_KEY) as bob:
        for asking in (client, bob):
            assert (await ask(asking, gateway, chat())).status == 200
            await gateway.event("request", key="alice" if asking is client else "bob")
        gateway_admin = f"{gateway.admin}/admin/v1"
        used = (await _settled_usage(client, f"{gateway_admin}/usage?by=key,day&since=1h"))["data"]
        assert [(row["key"], row["requests"]) for row in used] == [("alice", 1), ("bob", 1)]
        assert round(sum(row["cost_usd"] for row in used) * 1e9) == sandbox.billed
        for query in ("by=colour", "since=soon", "since=1h&until=2h"):
            wrong = await client.get(f"{gateway_admin}/usage?{query}")
            assert (wrong.status_code, wrong.json()["error"]["type"]) == (400, "invalid_request_error")
        shown = (await client.get(f"{gateway_admin}/upstreams")).json()
        piapi = next(each for each in shown["upstreams"] if each["name"] == "piapi")
        assert [each["url"] for each in piapi["endpoints"]] == [sandbox.urls["api"], sandbox.urls["proxy"]]
        assert [each["name"] for each in piapi["keys"]] == ["first", "second"]
        assert (shown["draining"], shown["in_flight"], shown["off"]) == (False, 0, [])
        keys = (await client.get(f"{gateway_admin}/keys")).json()["data"]
        assert [(key["name"], key["team"], key["models"]) for key in keys] == [
            ("alice", "growth", ["*"]),
            ("bob", None, ["gpt-4o-mini"]),
        ]


async def _settled_usage(client: httpx2.AsyncClient, url: str) -> Any:
    """The books, once both settlements are in them: they are committed in batches."""
    while True:
        found = (await client.get(url)).json()
        if sum(row["requests"] for row in found["data"]) == 2:
            return found


CANARIES = {
    "GATEWAY_ADMIN_KEY": "canary-admin-f3a97c0d5e1b",
    "PIAPI_API_KEY": "7c1f0e9b2d3a4c5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6",
    "PIAPI_API_KEY_2": "3e0c8a52-91f4-4b7d-8a6e-c0ffee123456",
    "BACKUP_API_KEY": "sk-canary-backup-Zq81mVx0Tt5",
    "ALICE_KEY": "gw-canary-alice-Hh27dK3pWw9",
    "BOB_KEY": "canarybobsownkey93",
}
"""Keys in every shape that keys have, given in the environment, as users give them."""


def _canary_config(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    config = settings(sandbox, folder, admin={"listen": "127.0.0.1:0", "key": "${GATEWAY_ADMIN_KEY}"})
    config["upstreams"]["piapi"]["keys"] = [
        {"name": "first", "value": "${PIAPI_API_KEY}"},
        {"name": "second", "value": "${PIAPI_API_KEY_2}"},
    ]
    config["upstreams"]["backup"]["keys"] = ["${BACKUP_API_KEY}"]
    config["keys"] = [{"name": "alice", "key": "${ALICE_KEY}"}, {"name": "bob", "key": "${BOB_KEY}"}]
    config["failover"] = {"retry_budget": 1.0, "breaker": {"failures": 1000}}
    config["log"] = {"format": "json", "level": "debug"}
    return config


ECHOES = (
    "status;code=400;message={}",
    "status;code=422;error={}",
    "status;code=500;message={}",
    "soft_error;message={}",
    "sse_error_first;message={}",
    "sse_error_late;message={}",
    "sse_error_string;error={}",
    "sse_event_error_flat;message={}",
    "delta_error;error={}",
    "bad_event;data={}",
    "redirect;location=http://127.0.0.1:9/{}",
    "status;code=429;retry_after=0;message={}",
    "status;code=401;message={}",
)
"""Upstreams that tell the caller's key to the caller; last those after which a key rests."""


async def test_no_key_ever_comes_out_anywhere(tmp_path: Path, sandbox: Sandbox) -> None:
    """Whatever an upstream says of our keys, and whatever goes wrong: not in answers, logs, metrics, books or shows."""
    write(tmp_path, _canary_config(sandbox, tmp_path))
    seen: list[str] = []
    admin = {"authorization": f"Bearer {CANARIES['GATEWAY_ADMIN_KEY']}"}
    async with (
        Gateway.serve(tmp_path, CANARIES) as gateway,
        new_client(CANARIES["ALICE_KEY"]) as alice,
        new_client(CANARIES["BOB_KEY"]) as bob,
        new_client(CANARIES["ALICE_KEY"] + "x") as stranger,
    ):
        for count, echo in enumerate(ECHOES):
            for secret in ("PIAPI_API_KEY", "PIAPI_API_KEY_2", "BACKUP_API_KEY"):
                for role in ("api", "proxy", "backup"):
                    sandbox.script(echo.format(CANARIES[secret]), role=role)
                seen += map(_whole, [await ask((alice, bob)[count % 2], gateway, chat(stream=count % 3 > 0))])
                sandbox.clear_scripts()
        seen += map(_whole, [await ask(stranger, gateway, chat()), await ask(alice, gateway, chat(model="nothing"))])
        for path, method in ADMIN_ROUTES.items():
            seen.append((await alice.request(method, gateway.admin + path, headers=admin)).text)
        write(tmp_path, json.dumps(_canary_config(sandbox, tmp_path) | {"time_zone": CANARIES["ALICE_KEY"]}))
        rejected = await alice.post(f"{gateway.admin}/admin/v1/reload", headers=admin)
        assert rejected.status_code == 400
        write(tmp_path, _canary_config(sandbox, tmp_path))
        for line in ("models --json", "usage", "ledger verify", "check --json"):
            shown = await command(tmp_path, *line.split(), env=CANARIES)
            assert shown.code == 0
            seen += [shown.out, shown.err]
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    seen += [gateway.out.text, gateway.err.text, store_bytes(tmp_path)]
    asked = {request.key for request in sandbox.requests}
    assert asked == {CANARIES["PIAPI_API_KEY"], CANARIES["PIAPI_API_KEY_2"], CANARIES["BACKUP_API_KEY"]}
    for name, secret in CANARIES.items():
        for text in seen:
            assert secret not in text, f"{name} came out: {text[:2000]}"


def _whole(answer: Answer) -> str:
    """Everything a client was given."""
    return f"{answer.headers}\n{answer.text}"


@pytest.mark.parametrize("secret", ["plainpassword", "piapi-key-one"])
async def test_a_key_that_looks_like_nothing_is_kept_back_as_well(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient, secret: str
) -> None:
    config = settings(sandbox, tmp_path)
    config["upstreams"]["piapi"]["keys"] = [secret]
    write(tmp_path, config)
    async with Gateway.serve(tmp_path) as gateway:
        for scenario in ("status;code=400;message=bad key {}", "sse_error_late;message=bad key {}"):
            sandbox.script(scenario.format(secret), role="api")
            answer = await ask(client, gateway, chat(stream=True))
            assert secret not in answer.text
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    assert secret not in gateway.err.text
