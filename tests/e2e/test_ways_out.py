"""Ways out of a network: proxies for chat, tasks and fetches; a company's authorities; certificates of our own."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.upstream.peer import Do, Peer, Script
from tests.upstream.tunnels import ForwardProxy
from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .harness import ALICE, Rig, chat_body

IMAGES = "/v1/images/generations"
FLUX = {"model": "flux-schnell", "prompt": "a kite", "response_format": "b64_json"}

CHAT = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }
).encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(CHAT), CHAT)

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_DELTA = {"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}
_CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
EVENT = b"data: %b\n\n" % json.dumps({**_CHUNK, "choices": [_DELTA]}).encode()
_LAST = {**_CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
_USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
END = b"data: %b\n\ndata: %b\n\ndata: [DONE]\n\n" % (
    json.dumps(_LAST).encode(),
    json.dumps({**_CHUNK, "choices": [], "usage": _USAGE}).encode(),
)


async def flux(rig: Rig) -> bytes:
    """A picture, ordered as a task and fetched for the client."""
    async with rig.client() as client:
        await client.ask(json.dumps(FLUX).encode(), ALICE, target=IMAGES)
        answer = await client.rest(await client.head())
    assert answer.status == 200, answer.body
    return base64.b64decode(answer.json()["data"][0]["b64_json"])


async def reload(rig: Rig, proxy: str) -> None:
    path = rig.folder / "config.yaml"
    path.write_text(write_yaml({**read_yaml(path.read_text()), "proxy": proxy}))
    assert await rig.gateway.reload() == []


class TestProxies:
    async def test_chat_tasks_and_fetches_go_through_it(self, gateway: StartGateway) -> None:
        async with ForwardProxy() as proxy:
            rig = await gateway(f"proxy: http://127.0.0.1:{proxy.port}")
            assert (await rig.chat()).status == 200
            assert (await rig.chat(stream=True)).payloads[-1] == b"[DONE]"
            seen = len(proxy.targets)
            assert (await flux(rig)).startswith(b"\x89PNG")
            hosts = {url.removeprefix("http://") for url in rig.sandbox.urls.values()}
            assert set(proxy.targets) <= hosts
            assert len(proxy.targets) > seen  # the fetch, whose connection is never kept

    async def test_an_upstream_may_have_its_own(self, gateway: StartGateway) -> None:
        async with ForwardProxy() as proxy:
            rig = await gateway(f"upstreams: {{backup: {{proxy: 'http://127.0.0.1:{proxy.port}'}}}}")
            assert (await rig.chat()).header("x-gateway-upstream") == "piapi"
            assert proxy.targets == []
            for role in ("api", "proxy"):
                rig.sandbox.script("status;code=500", role=role, times=None)
            assert (await rig.chat()).header("x-gateway-upstream") == "backup"
            assert len(proxy.targets) == 1

    async def test_a_reload_changes_the_way(self, gateway: StartGateway) -> None:
        rig = await gateway()
        assert (await rig.chat()).status == 200
        async with ForwardProxy() as proxy:
            await reload(rig, f"http://127.0.0.1:{proxy.port}")
            assert (await rig.chat()).status == 200
            assert len(proxy.targets) == 1
            assert (await flux(rig)).startswith(b"\x89PNG")
            await reload(rig, "none")
            seen = len(proxy.targets)
            assert (await rig.chat()).status == 200
            assert (await flux(rig)).startswith(b"\x89PNG")
            assert len(proxy.targets) == seen

    async def test_wrong_credentials_are_told_to_the_operator_and_to_nobody_else(self, gateway: StartGateway) -> None:
        async with ForwardProxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
            rig = await gateway(f"proxy: 'http://ann:s3cret-word@127.0.0.1:{proxy.port}'")
            answer = await rig.chat()
            assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
            assert "407" not in answer.body.decode()
            lines = await rig.log_lines("attempt", 3)
            assert all("answered 407 to CONNECT" in line["detail"] for line in lines)
            assert all("user and password are missing or wrong" in line["detail"] for line in lines)
            text = (rig.folder / "gateway.log").read_text()
            assert "s3cret-word" not in text
            assert base64.b64encode(b"ann:s3cret-word").decode() not in text

    async def test_one_that_dies_in_the_middle_of_a_stream(self, gateway: StartGateway) -> None:
        async with ForwardProxy() as proxy:
            rig = await gateway(f"upstreams: {{piapi: {{proxy: 'http://127.0.0.1:{proxy.port}'}}}}")
            for role in ("api", "proxy"):
                rig.sandbox.script("stall_mid;after_events=4", role=role, times=None)
            async with rig.client() as client:
                await client.ask(chat_body(stream=True))
                head = await client.head()
                await client.until(b"\n\n")
                proxy.die()
                answer = await client.rest(head)
            assert b"[DONE]" not in answer.body
            assert answer.stream_error()["code"] == "upstream_stream_interrupted"
            # The next request finds no proxy, and so goes on to the upstream that needs none.
            assert (await rig.chat()).header("x-gateway-upstream") == "backup"

    async def test_one_that_dies_before_the_first_word(self, gateway: StartGateway) -> None:
        """Whether the request was read is then unknown; an answer by tokens may be asked for elsewhere."""
        async with ForwardProxy() as proxy:
            rig = await gateway(f"upstreams: {{piapi: {{proxy: 'http://127.0.0.1:{proxy.port}'}}}}")
            for role in ("api", "proxy"):
                rig.sandbox.script("stall_head", role=role, times=None)
            async with rig.client() as client:
                await client.ask(chat_body(stream=True))
                await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
                proxy.die()
                answer = await client.rest(await client.head())
            assert (answer.status, answer.header("x-gateway-upstream")) == (200, "backup")
            assert answer.payloads[-1] == b"[DONE]"

    async def test_one_that_cut_its_tunnels_is_asked_for_new_ones(self, gateway: StartGateway) -> None:
        async with ForwardProxy() as proxy:
            rig = await gateway(f"proxy: http://127.0.0.1:{proxy.port}")
            assert (await rig.chat()).status == 200
            proxy.die(tunnels_only=True)
            for _ in range(3):
                assert (await rig.chat()).status == 200


def speaks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
        return True
    except OSError:
        return False


class TestBothFamilies:
    """``localhost`` as development servers listen on it, and addresses as they are written."""

    @pytest.mark.skipif(not speaks_ipv6(), reason="THIS MACHINE HAS NO IPv6: NOBODY TESTS WHAT A DUAL STACK GETS")
    @pytest.mark.parametrize(
        ("listens", "written"),
        [("::1", "[::1]"), ("::1", "localhost"), ("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1")],
    )
    async def test_an_upstream_of_one_family_is_reached(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, listens: str, written: str
    ) -> None:
        async def look_up(host: str, port: int, _: object) -> list[object]:
            """As a machine with both knows ``localhost``; not each that runs tests does."""
            six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
            return [six, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr("gateway.upstream.dialer._looked_up", look_up)
        async with Peer([Do.REQUEST, OK] * 5, host=listens) as peer:
            url = f"http://{written}:{peer.port}"
            rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{url}'}}]}}, backup: {{keys: []}}}}")
            assert (await rig.chat()).json()["choices"][0]["message"]["content"] == "hello"
            assert f"host: {written}:{peer.port}\r\n".encode() in peer.requests[0]


class TestAHostThatMoves:
    async def test_is_followed_within_max_age_and_nothing_under_way_is_cut(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two hosts on one port, and a name that leads to the first, then to the second."""
        where = ["127.0.0.2"]

        async def look_up(host: str, port: int, _: object) -> list[object]:
            assert host == "upstream.test"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where[0], port))]

        monkeypatch.setattr("gateway.upstream.dialer._looked_up", look_up)
        go_on = asyncio.Event()
        slow: Script = [Do.REQUEST, STREAM, EVENT, go_on, EVENT, END]
        async with Peer(slow, [Do.REQUEST, OK] * 2000, host="127.0.0.2") as old:
            new = Peer([Do.REQUEST, OK] * 2000)
            async with await asyncio.start_server(new._accept, "127.0.0.3", old.port):
                url = f"http://upstream.test:{old.port}"
                rig = await gateway(
                    f"upstreams: {{piapi: {{endpoints: [{{url: '{url}'}}], max_age: 200ms}}, backup: {{keys: []}}}}"
                )
                async with rig.client() as client:
                    await client.ask(chat_body(stream=True))
                    head = await client.head()
                    await client.until(b"\n\n")
                    for _ in range(5):
                        assert (await rig.chat()).status == 200
                    where[0] = "127.0.0.3"
                    async with asyncio.timeout(10):
                        while len(new.requests) < 5:
                            assert (await rig.chat()).status == 200
                            await asyncio.sleep(0.02)
                    asked = len(old.requests)
                    for _ in range(5):
                        assert (await rig.chat()).status == 200
                    assert len(old.requests) == asked
                    go_on.set()
                    answer = await client.rest(head)
                assert answer.payloads[-1] == b"[DONE]"


class TestCertificates:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> trustme.CA:
        made = trustme.CA()
        made.cert_pem.write_to_path(tmp_path / "ca.pem")
        made.issue_cert("gateway.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
        return made

    @pytest.fixture
    def context(self, authority: trustme.CA) -> Callable[[bool], ssl.SSLContext]:
        """The upstream's side of TLS; True for one that asks who comes."""

        def make(asks: bool) -> ssl.SSLContext:
            made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("127.0.0.1").configure_cert(made)
            if asks:
                authority.configure_trust(made)
                made.verify_mode = ssl.CERT_REQUIRED
            return made

        return make

    @pytest.mark.parametrize("everywhere", [True, False])
    async def test_a_companys_own_authority(
        self,
        gateway: StartGateway,
        tmp_path: Path,
        context: Callable[[bool], ssl.SSLContext],
        everywhere: bool,
    ) -> None:
        async with Peer([Do.REQUEST, OK], context=context(False)) as peer:
            url = f"https://127.0.0.1:{peer.port}"
            known = f"ca_file: {tmp_path}/ca.pem"
            own = "" if everywhere else f", {known}"
            upstreams = f"upstreams: {{piapi: {{endpoints: [{{url: '{url}'}}]{own}}}, backup: {{keys: []}}}}"
            rig = await gateway(f"{known}\n{upstreams}" if everywhere else upstreams)
            assert (await rig.chat()).json()["choices"][0]["message"]["content"] == "hello"
            stranger = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{url}'}}]}}, backup: {{keys: []}}}}")
            assert (await stranger.chat()).status == 502
            assert all("CERTIFICATE_VERIFY_FAILED" in one["detail"] for one in await stranger.log_lines("attempt"))

    async def test_a_certificate_of_our_own(
        self, gateway: StartGateway, tmp_path: Path, context: Callable[[bool], ssl.SSLContext]
    ) -> None:
        async with Peer([Do.REQUEST, OK], context=context(True)) as peer:
            base = f"{{endpoints: [{{url: 'https://127.0.0.1:{peer.port}'}}], ca_file: {tmp_path}/ca.pem"
            shown = await gateway(
                f"upstreams: {{piapi: {base}, client_cert: {tmp_path}/own.pem}}, backup: {{keys: []}}}}"
            )
            assert (await shown.chat()).json()["choices"][0]["message"]["content"] == "hello"
            hidden = await gateway(f"upstreams: {{piapi: {base}}}, backup: {{keys: []}}}}")
            assert (await hidden.chat()).status == 502


class TestClientsBehindProxies:
    async def test_guessing_is_throttled_by_the_clients_address(self, gateway: StartGateway) -> None:
        rig = await gateway("trusted_proxies: [127.0.0.1]")

        async def guess(number: int, address: str) -> int:
            return (await rig.chat(key=f"gw-guess-{number:020}", headers={"x-forwarded-for": address})).status

        told = [await guess(number, "203.0.113.7") for number in range(60)]
        assert told[0] == 401
        assert told[-1] == 429
        assert await guess(99, "203.0.113.8") == 401
        assert await guess(99, "203.0.113.8, 203.0.113.7") == 429  # what stands before is the client's own word

    async def test_a_stranger_cannot_choose_its_address(self, gateway: StartGateway) -> None:
        rig = await gateway()
        told = [
            (await rig.chat(key=f"gw-guess-{number:020}", headers={"x-forwarded-for": f"203.0.113.{number}"})).status
            for number in range(60)
        ]
        assert told[-1] == 429
