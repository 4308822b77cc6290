"""How an image gets from where it was made to the client: fetched behind links, with care and patience."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .harness import PIAPI_KEY, PROMPT, Answer, Rig
from .raw_orders import (
    ATTEMPTS,
    GENERATIONS,
    IMAGE,
    canary,
    fetched,
    files_asked,
    order,
    orders_asked,
    sandbox_image,
    sandbox_links,
    without_pauses,
)

CHAT = "/v1/chat/completions"
DALLE = "https://oaidalleapiprodscus.blob.core.windows.net/private"
"""Where images of the older model are, which are marked. The host is not among the rig's."""

NOTE = "link_instead_of_b64"
GUARDED = "images: {fetch_private: false}"
FOR_A_WHILE = "status;code=403;path=/files/;times=2"
FOR_EVER = "status;code=404;path=/files/"


PIAPI_OFF = "upstreams: {piapi: {keys: []}}"
"""An Images API that is not streamed brings several images in one answer; PiAPI's brings one."""

THREE: dict[str, Any] = {"model": "gpt-image-1", "quality": "low", "size": "1024x1024", "n": 3}


def images_in(answer: Answer) -> list[bytes]:
    return [base64.b64decode(item["b64_json"]) for item in answer.json()["data"]]


async def check_given_as_its_link(
    rig: Rig, answer: Answer, links: list[str] | None = None, charged: int = IMAGE
) -> None:
    """What is bought is delivered, by its link, once, and says so; the books know nothing of trouble."""
    assert answer.status == 200
    items = answer.json()["data"]
    assert [item["url"] for item in items] == (links or sandbox_links(rig))
    assert not any("b64_json" in item for item in items)
    assert answer.header("x-gateway-note") == NOTE
    assert len(orders_asked(rig)) == 1
    row = await rig.row()
    assert (row.charged, row.images, row.status, row.state) == (charged, 1, 200, "settled")
    assert (row.outcomes, row.costs) == (["ok"], [(charged, "billed")])
    assert charged == rig.sandbox.billed
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, outcome="ok") == figures.total(ATTEMPTS) == 1
    assert figures.nano("gateway_cost_usd_total") == charged


async def check_bought_in_vain(rig: Rig, charged: int = IMAGE) -> None:
    """The books and figures of an order whose image was made, and could not be had."""
    row = await rig.row()
    assert row.outcomes == ["asset_unavailable"]
    assert (row.charged, row.images, row.status, row.state) == (charged, 1, 502, "settled")
    assert row.costs == [(charged, "billed")]
    assert charged == rig.sandbox.billed
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, outcome="asset_unavailable") == figures.total(ATTEMPTS) == 1
    assert figures.nano("gateway_cost_usd_total") == charged
    assert figures.total("gateway_requests_total", status="502") == 1


class TestBase64FromALink:
    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
    async def test_is_the_image_behind_it(self, rig: Rig, model: str) -> None:
        linked = await rig.openai().images.generate(model=model, prompt=PROMPT)
        made = await rig.openai().images.generate(model=model, prompt=PROMPT, response_format="b64_json")

        assert linked.data is not None
        assert made.data is not None
        assert made.data[0].url is None
        assert made.data[0].b64_json is not None
        assert base64.b64decode(made.data[0].b64_json) == sandbox_image(linked.data[0].url or "")
        assert files_asked(rig) == ["api"]

    async def test_is_fetched_as_a_stranger(self, rig: Rig) -> None:
        """An image host learns no key, neither ours nor the client's, and may not send what is compressed."""
        await order(rig, response_format="b64_json")

        [asked] = [request for request in rig.sandbox.requests if request.path.startswith("/files/")]
        assert asked.key is None
        assert {name for name, _ in asked.headers} == {
            b"host",
            b"accept",
            b"accept-encoding",
            b"user-agent",
            b"connection",
        }
        assert asked.get(b"accept-encoding") == b"identity"
        assert PIAPI_KEY not in repr(asked.headers)

    async def test_of_several_images_is_each_ones_own(self, gateway: StartGateway) -> None:
        rig = await gateway(PIAPI_OFF)
        rig.sandbox.script("ok;link=1")

        answer = await order(rig, **THREE)

        assert images_in(answer) == [sandbox_image(link) for link in sandbox_links(rig, 3, role="backup")]

    async def test_of_several_leaves_the_link_of_one_that_cannot_be_had(self, gateway: StartGateway) -> None:
        rig = await gateway(PIAPI_OFF)
        without_pauses(rig)
        rig.sandbox.script("ok;link=1", path=GENERATIONS)
        links = sandbox_links(rig, 3, role="backup")
        rig.sandbox.script("status;code=404", path="/files/" + links[1].rpartition("/")[2], times=None)

        answer = await order(rig, **THREE)

        first, gone, last = answer.json()["data"]
        assert [base64.b64decode(item["b64_json"]) for item in (first, last)] == [
            sandbox_image(links[0]),
            sandbox_image(links[2]),
        ]
        assert gone == {"url": links[1]}
        assert answer.header("x-gateway-note") == NOTE
        row = await rig.row()
        assert (row.images, row.outcomes) == (3, ["ok"])
        assert row.charged == row.upstream_cost == rig.sandbox.billed

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_of_more_images_than_were_asked_for_is_fetched_for_twice_as_many(
        self, rig: Rig, stream: bool
    ) -> None:
        """gpt-4o-image may bring more than one. Links beyond that are links."""
        rig.sandbox.script("ok;images=4", path=CHAT)

        answer = await order(rig, response_format="b64_json", stream=stream)

        links = sandbox_links(rig, 4)
        items = [json.loads(payload) for payload in answer.payloads] if stream else answer.json()["data"]
        assert [base64.b64decode(item["b64_json"]) for item in items[:2]] == [sandbox_image(link) for link in links[:2]]
        assert [(item.get("b64_json"), item["url"]) for item in items[2:]] == [(None, link) for link in links[2:]]
        assert files_asked(rig) == ["api"] * 2
        assert answer.header("x-gateway-note") == (None if stream else NOTE)  # its head went out with the first image
        assert (await rig.row()).charged == rig.sandbox.billed == IMAGE

    async def test_is_what_gpt_image_1_gives_also_where_its_relay_has_links(self, rig: Rig) -> None:
        rig.sandbox.script("ok;link=1")

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024")

        [item] = answer.json()["data"]
        assert "url" not in item
        assert base64.b64decode(item["b64_json"]) == sandbox_image(sandbox_links(rig)[0])
        row = await rig.row()
        assert row.charged == row.upstream_cost == rig.sandbox.billed


class TestAnImageHostThatFails:
    async def test_for_a_moment_is_asked_again(self, rig: Rig) -> None:
        waited = without_pauses(rig)
        rig.sandbox.script(FOR_A_WHILE)

        answer = await order(rig, response_format="b64_json")

        [image] = answer.json()["data"]
        assert base64.b64decode(image["b64_json"]) == sandbox_image(sandbox_links(rig)[0])
        assert files_asked(rig) == ["api"] * 3
        assert waited == sorted(waited)
        assert len(waited) == 2
        assert orders_asked(rig) == ["api"]  # the image is bought once
        row = await rig.row()
        assert (row.charged, row.status, row.outcomes) == (IMAGE, 200, ["ok"])
        figures = await rig.figures()
        assert figures.total(ATTEMPTS, outcome="ok") == figures.total(ATTEMPTS) == 1
        assert figures.nano("gateway_cost_usd_total") == IMAGE

    @pytest.mark.parametrize("fault", ["status;code=500", "status;code=429", "reset_before_head", "cut_bytes;at=500"])
    async def test_in_other_ways_that_may_pass_is_asked_again_too(self, rig: Rig, fault: str) -> None:
        without_pauses(rig)
        rig.sandbox.script(f"{fault};path=/files/;times=1")

        answer = await order(rig, response_format="b64_json")

        assert answer.status == 200
        assert files_asked(rig) == ["api"] * 2

    async def test_by_falling_silent_is_asked_again(self, rig: Rig) -> None:
        without_pauses(rig)
        fetcher = rig.gateway._images._fetcher
        fetcher._limits = replace(fetcher._limits, connect=0.05, silence=0.05)
        rig.sandbox.script("stall_head;path=/files/;times=1")

        answer = await order(rig, response_format="b64_json")

        assert answer.status == 200
        assert files_asked(rig) == ["api"] * 2

    @pytest.mark.parametrize("scenario", ["stall_head", "trickle;gap=10"])
    async def test_by_being_slow_for_ever_has_an_end_to_its_time(self, rig: Rig, scenario: str) -> None:
        fetcher = rig.gateway._images._fetcher
        fetcher._limits = replace(fetcher._limits, total=0.1)
        rig.sandbox.script(f"{scenario};path=/files/", times=None)

        answer = await order(rig, response_format="b64_json")

        await check_given_as_its_link(rig, answer)

    async def test_by_refusing_whoever_is_no_browser_is_asked_as_one(self, rig: Rig) -> None:
        without_pauses(rig)
        rig.sandbox.script("browsers_only;path=/files/", times=None)

        answer = await order(rig, response_format="b64_json")

        assert images_in(answer) == [sandbox_image(sandbox_links(rig)[0])]
        assert answer.header("x-gateway-note") is None
        agents = [request.get(b"user-agent") for request in rig.sandbox.requests if request.path.startswith("/files/")]
        assert [(agent or b"").startswith(b"Mozilla/") for agent in agents] == [False, True]
        assert all(request.key is None for request in rig.sandbox.requests if request.path.startswith("/files/"))
        assert (await rig.row()).charged == rig.sandbox.billed == IMAGE

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 429, 451, 500, 503])
    async def test_for_ever_leaves_the_link_of_what_is_paid_for(self, rig: Rig, code: int) -> None:
        without_pauses(rig)
        rig.sandbox.script(f"status;code={code};path=/files/", times=None)

        answer = await order(rig, response_format="b64_json")

        assert set(files_asked(rig)) == {"api"}
        await check_given_as_its_link(rig, answer)
        [line] = await rig.log_lines("image_not_fetched")
        assert f"answered {code}" in line["problem"]
        assert "/files/" not in json.dumps(line)  # a signed link would be a secret

    @pytest.mark.parametrize("fields", [{"response_format": "b64_json"}, {}], ids=["asked", "by the SDK's custom"])
    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
    async def test_for_ever_leaves_an_event_with_the_link(self, rig: Rig, model: str, fields: dict[str, Any]) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig, model=model, stream=True, **fields)

        [completed] = [json.loads(payload) for payload in answer.payloads]
        assert (completed["type"], completed["b64_json"]) == ("image_generation.completed", None)
        assert "/files/" in completed["url"]
        assert answer.header("x-gateway-note") == NOTE
        row = await rig.row()
        assert (row.status, row.outcomes) == (200, ["ok"])
        assert row.charged == rig.sandbox.billed

    async def test_for_ever_is_nothing_that_an_sdk_would_send_again_for(self, rig: Rig) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        raw = await rig.openai(max_retries=3).images.with_raw_response.generate(
            model="gpt-4o-image", prompt=PROMPT, response_format="b64_json"
        )

        [image] = raw.parse().data or []
        assert ([image.url], image.b64_json) == (sandbox_links(rig), None)
        assert raw.headers["x-gateway-note"] == NOTE
        assert orders_asked(rig) == ["api"]

    async def test_for_ever_costs_a_task_its_points(self, rig: Rig) -> None:
        without_pauses(rig)
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig, model="flux-schnell", response_format="b64_json")

        [item] = answer.json()["data"]
        await check_given_as_its_link(rig, answer, [item["url"]], 2_000_000)

    async def test_for_ever_for_some_of_several_orders_is_said_once_and_beside_other_notes(self, rig: Rig) -> None:
        """An order for three at PiAPI's gpt-4o-image is three purchases."""
        without_pauses(rig)
        rig.sandbox.script(f"ok;site={DALLE}", path=CHAT, times=None)

        answer = await order(rig, n=3, response_format="b64_json")

        assert [item["url"].startswith(DALLE) for item in answer.json()["data"]] == [True] * 3
        assert sorted((answer.header("x-gateway-note") or "").split("; ")) == ["downgraded", NOTE]
        assert (await rig.row()).charged == rig.sandbox.billed == 3 * IMAGE

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_beyond_the_requests_deadline_leaves_the_link(self, gateway: StartGateway, stream: bool) -> None:
        """The deadline is for what has not been bought yet."""
        rig = await gateway("upstreams: {piapi: {timeouts: {total: 400ms}}}")
        rig.sandbox.script("stall_head;path=/files/", times=None)

        answer = await order(rig, response_format="b64_json", stream=stream)

        if stream:
            [completed] = [json.loads(payload) for payload in answer.payloads]
            assert [completed["url"]] == sandbox_links(rig)
        else:
            await check_given_as_its_link(rig, answer)
        row = await rig.row()
        assert (row.charged, row.status, row.outcomes) == (IMAGE, 200, ["ok"])

    async def test_does_not_matter_to_who_takes_the_link(self, rig: Rig) -> None:
        rig.sandbox.script(FOR_EVER, times=None)

        answer = await order(rig)

        assert [item["url"] for item in answer.json()["data"]] == sandbox_links(rig)
        assert files_asked(rig) == []

    @pytest.mark.parametrize(
        "impostor", ["html_200", "html_200;content_type=image/png", "empty_body", "big_picture;mib=51", "gzip", "bomb"]
    )
    async def test_with_something_else_is_not_believed(self, rig: Rig, impostor: str) -> None:
        without_pauses(rig)
        rig.sandbox.script(f"{impostor};path=/files/", times=None)

        answer = await order(rig, response_format="b64_json")

        assert files_asked(rig) == ["api"]  # and not asked again: the next answer would be the same
        await check_given_as_its_link(rig, answer)

    async def test_with_more_than_one_answer_may_bring_leaves_the_links_of_the_rest(
        self, gateway: StartGateway
    ) -> None:
        rig = await gateway(PIAPI_OFF)
        rig.sandbox.script("ok;link=1", path=GENERATIONS)
        links = sandbox_links(rig, 3, role="backup")
        fetcher = rig.gateway._images._fetcher
        fetcher._limits = replace(fetcher._limits, together=2 * len(sandbox_image(links[0])) + 100)

        answer = await order(rig, **THREE)

        items = answer.json()["data"]
        assert [bool(item.get("b64_json")) for item in items] == [True, True, False]
        assert items[2] == {"url": links[2]}
        assert answer.header("x-gateway-note") == NOTE
        row = await rig.row()
        assert row.charged == row.upstream_cost == rig.sandbox.billed


def at_another_name(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


def without_change(url: str) -> str:
    return url


class TestALinkThatLeadsAstray:
    """Where results lie is said by an upstream's answer, and through that, perhaps, by whoever wrote the prompt."""

    @pytest.mark.parametrize(
        ("config", "change"),
        [
            pytest.param(GUARDED, without_change, id="a private address, and not https"),
            pytest.param(f"{GUARDED[:-1]}, fetch_hosts: [localhost]}}", at_another_name, id="a name of this machine"),
            pytest.param(
                f"{GUARDED[:-1]}, fetch_hosts: ['*']}}", at_another_name, id="a name of this machine, anywhere"
            ),
            pytest.param(GUARDED, lambda url: url.replace("http:", "https:"), id="an unusual port"),
            pytest.param("", lambda url: url.replace("//", "//user:pass@"), id="a password"),
            pytest.param("", lambda url: url.replace("127.0.0.1", "127.1"), id="another spelling"),
        ],
    )
    async def test_inside_is_neither_followed_nor_handed_on(
        self, gateway: StartGateway, sandbox: Sandbox, config: str, change: Callable[[str], str]
    ) -> None:
        rig = await gateway(config)
        async with canary() as bird:
            sandbox.script(f"ok;site={change(bird.url)}", path=CHAT)

            answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        assert answer.header("x-should-retry") == "false"
        assert bird.seen == []
        assert b"/files/" not in answer.body
        await check_bought_in_vain(rig)
        [line] = await rig.log_lines("attempt")
        assert "/files/" not in json.dumps(line)  # a signed link would be a secret

    @pytest.mark.parametrize(
        ("config", "site"),
        [
            pytest.param("", "http://localhost:{port}", id="another name, with private ones allowed"),
            pytest.param("images: {fetch_hosts: ['*.theapi.app']}", "http://127.0.0.1:{port}", id="an address"),
            pytest.param("images: {fetch_hosts: [], fetch_private: false}", "https://cdn.example.net", id="no host"),
            pytest.param(GUARDED, "https://cdn.example.net", id="a public host"),
            pytest.param(GUARDED, "http://cdn.example.net", id="a public host without TLS"),
            pytest.param(f"{GUARDED[:-1]}, fetch_hosts: ['*']}}", "http://cdn.example.net", id="no TLS"),
            pytest.param(f"{GUARDED[:-1]}, fetch_hosts: ['*']}}", "https://cdn.example.net:8443", id="another port"),
        ],
    )
    async def test_to_a_host_that_is_not_asked_is_the_clients_to_follow(
        self, gateway: StartGateway, sandbox: Sandbox, config: str, site: str
    ) -> None:
        rig = await gateway(config)
        without_pauses(rig)
        async with canary() as bird:
            site = site.format(port=bird.url.rpartition(":")[2])
            sandbox.script(f"ok;site={site}", path=CHAT)

            answer = await order(rig, response_format="b64_json")

        assert bird.seen == []
        await check_given_as_its_link(rig, answer, [f"{site}/files/{sandbox_links(rig)[0].rpartition('/')[2]}"])

    @pytest.mark.parametrize("listener", ["main", "admin"])
    async def test_to_this_gateway_itself_is_not_followed_even_where_private_places_are(
        self, gateway: StartGateway, sandbox: Sandbox, listener: str
    ) -> None:
        rig = await gateway("images: {fetch_hosts: ['*']}")
        place = {"main": rig.gateway.main_url, "admin": rig.gateway.admin_url}[listener]
        sandbox.script(f"ok;site={place}", path=CHAT)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        await check_bought_in_vain(rig)
        [line] = await rig.log_lines("attempt")
        assert "is this gateway" in line["detail"]

    async def test_to_this_machine_by_a_name_is_found_out_when_it_is_looked_up(self, gateway: StartGateway) -> None:
        rig = await gateway("images: {fetch_hosts: [localhost], fetch_private: false}")
        rig.sandbox.script("ok;site=https://localhost", path=CHAT)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        [line] = await rig.log_lines("attempt")
        assert "not a public one" in line["detail"]
        await check_bought_in_vain(rig)

    async def test_is_given_to_a_client_that_wants_links(self, gateway: StartGateway) -> None:
        """It is the client's to follow; we only do not follow it ourselves."""
        rig = await gateway(GUARDED)
        async with canary() as bird:
            rig.sandbox.script(f"ok;site={bird.url}", path=CHAT, times=2)

            whole = await order(rig)
            streamed = await order(rig, stream=True)

        assert whole.json()["data"][0]["url"].startswith(f"{bird.url}/files/")
        assert json.loads(streamed.payloads[0])["url"].startswith(f"{bird.url}/files/")
        assert bird.seen == []


def redirect(location: str) -> str:
    return f"redirect;location={location}"


class TestRedirects:
    async def test_are_followed_where_they_may_lead(self, rig: Rig) -> None:
        [link] = sandbox_links(rig, role="proxy")
        rig.sandbox.script(redirect(link), path="/files/" + sandbox_links(rig)[0].rpartition("/")[2], role="api")

        answer = await order(rig, response_format="b64_json")

        assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == sandbox_image(link)
        assert files_asked(rig) == ["api", "proxy"]

    async def test_three_at_most(self, rig: Rig) -> None:
        name = "/files/" + sandbox_links(rig)[0].rpartition("/")[2]
        rig.sandbox.script(redirect(name), path=name, times=None)

        answer = await order(rig, response_format="b64_json")

        assert files_asked(rig) == ["api"] * 4
        await check_given_as_its_link(rig, answer)

    async def test_to_a_host_that_is_not_listed_are_not_followed(self, rig: Rig) -> None:
        """The first host may be asked; where it sends us may not, and the client gets the first one's link."""
        name = "/files/" + sandbox_links(rig)[0].rpartition("/")[2]
        async with canary() as bird:
            rig.sandbox.script(redirect(at_another_name(bird.url)), path=name)

            answer = await order(rig, response_format="b64_json")

        assert files_asked(rig) == ["api"]
        assert bird.seen == []
        await check_given_as_its_link(rig, answer)

    @pytest.mark.parametrize("inside", ["file:///etc/passwd", "http://user@127.0.0.1/", "http://0x7f000001/", "own"])
    async def test_into_forbidden_places_are_not_followed_and_forbid_the_link(self, rig: Rig, inside: str) -> None:
        name = "/files/" + sandbox_links(rig)[0].rpartition("/")[2]
        rig.sandbox.script(redirect(f"{rig.gateway.admin_url}/metrics" if inside == "own" else inside), path=name)

        answer = await order(rig, response_format="b64_json")

        assert (answer.status, answer.error()["code"]) == (502, "result_unavailable")
        assert files_asked(rig) == ["api"]
        await check_bought_in_vain(rig)


async def test_the_image_a_link_shows_is_the_one_that_was_made(rig: Rig) -> None:
    """The sandbox draws real images; what it says, a client sees."""
    made = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)

    assert made.data is not None
    shown = await fetched(made.data[0].url or "")
    assert shown.body == sandbox_image(made.data[0].url or "")


class TestTheStart:
    """Whoever starts the gateway is told from where it fetches, since that has become more than it was."""

    @pytest.mark.parametrize(
        ("hosts", "words"), [("['*']", "every public host, the default"), ("[cdn.example.net]", "fetch_hosts only")]
    )
    async def test_says_which_hosts_are_asked(self, gateway: StartGateway, hosts: str, words: str) -> None:
        rig = await gateway(f"images: {{fetch_hosts: {hosts}, fetch_private: false}}")

        [line] = await rig.log_lines("images_fetched_from")

        assert line["hosts"] == [hosts.strip("[]'")]
        assert line["private"] is False
        assert words in line["message"]

    async def test_and_every_reload_tell_the_fetching_what_is_ours(self, gateway: StartGateway) -> None:
        rig = await gateway("images: {public_url: 'https://pictures.example.com/gateway'}\nhosts: [gateway.lan]")
        fetcher = rig.gateway._images._fetcher
        ports = {int(url.rpartition(":")[2]) for url in (rig.gateway.main_url, rig.gateway.admin_url)}
        assert fetcher.surroundings.ports == ports
        assert {"pictures.example.com", "gateway.lan"} <= fetcher.surroundings.names
        assert fetcher.surroundings.upstreams == {"127.0.0.1"}

        path = rig.folder / "config.yaml"
        document = read_yaml(path.read_text(encoding="utf-8"))
        document["upstreams"]["backup"]["endpoints"] = [{"url": "https://relay.example.net/v1"}]
        path.write_text(write_yaml(document), encoding="utf-8")
        assert await rig.gateway.reload() == []

        assert fetcher.surroundings.upstreams == {"127.0.0.1", "relay.example.net"}
        assert fetcher.surroundings.ports == ports
