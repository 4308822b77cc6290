"""The demo's configuration, its fixed key, and the lines of its banner that depend on where it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gateway.cli import demo
from gateway.cli.demo import FIXED_KEY, demo_settings, program_here, usage_line
from gateway.config import Config, load
from gateway.core.errors import ConfigError
from gateway.sandbox import Sandbox
from tests.process.running import ALICE_KEY, new_client, settings, write

from .in_process import serving

URLS = {role: f"http://127.0.0.1:1/{role}" for role in ("api", "proxy", "backup")}


def configured(folder: Path, document: dict[str, Any] | None = None) -> Config:
    """The demo's configuration, made from a file of other settings."""
    path = None if document is None else write(folder, document)
    content = demo_settings(path, os.environ, URLS, "gw-random-0123456789", folder)
    made = folder / "demo.yaml"
    made.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load(made, os.environ)


@pytest.mark.parametrize("listen", [None, "127.0.0.1:8400", "[::1]:8400", "localhost:8400"])
def test_on_loopback_a_key_that_can_be_written_down_works_too(folder: Path, listen: str | None) -> None:
    config = configured(folder, listen and {"listen": listen})
    assert [(key.name, key.team) for key in config.keys] == [("demo", "demo"), ("demo-fixed", "demo")]
    assert FIXED_KEY in config.secrets, "it is struck out of the log like any other"


@pytest.mark.parametrize("listen", ["0.0.0.0:8400", "[::]:8400", "192.0.2.1:8400", "gateway.example.com:8400"])
def test_beyond_loopback_it_does_not(folder: Path, listen: str) -> None:
    config = configured(folder, {"listen": listen})
    assert [key.name for key in config.keys] == ["demo"]
    assert FIXED_KEY not in config.secrets


def test_a_catalogue_of_ones_own_is_found_from_where_the_demo_writes_its_file(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc" / "mine.yaml").write_text("house: {targets: [{upstream: backup}]}", encoding="utf-8")
    path = folder / "etc" / "config.yaml"
    path.write_text("catalogue: ./mine.yaml", encoding="utf-8")
    content = demo_settings(path, os.environ, URLS, "gw-random-0123456789", folder)
    made = folder / "demo.yaml"
    made.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert "house" in [route.model for route in load(made, os.environ).routes]


@pytest.mark.parametrize("auth", ["auto", "required"])
async def test_a_gateway_that_serves_does_not_know_it(folder: Path, sandbox: Sandbox, auth: str) -> None:
    async with serving(folder, settings(sandbox, folder, auth=auth)) as gateway:
        for key, status in ((FIXED_KEY, 401), (ALICE_KEY, 200)):
            async with new_client(key) as client:
                assert (await client.get(f"{gateway.url}/v1/models")).status_code == status


def test_a_files_keys_upstreams_and_store_give_way_and_the_rest_stays(folder: Path) -> None:
    config = configured(
        folder,
        {
            "keys": [{"name": "alice", "key": ALICE_KEY}],
            "auth": "none",
            "store": "sqlite:///books.db",
            "upstreams": {"piapi": {"keys": ["sk-a-real-key-0123456789"]}},
            "time_zone": "Asia/Kolkata",
            "drain": "3s",
        },
    )
    assert {key.name for key in config.keys} == {"demo", "demo-fixed"}
    assert config.requires_key(stored_keys=False)
    assert config.store == f"sqlite:///{folder / 'gateway.db'}"
    assert "sk-a-real-key-0123456789" not in config.secrets
    assert (str(config.time_zone), config.drain) == ("Asia/Kolkata", 3.0)


def test_what_is_wrong_in_the_file_is_told_by_its_own_lines(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:1:"):
        configured(folder, {"drian": "3s"})


class TestHowTheProgramIsCalled:
    @pytest.fixture
    def script(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A virtual environment's script, and nothing on the path."""
        script = folder / ".venv" / "bin" / "piapi-gateway"
        script.parent.mkdir(parents=True)
        script.touch(mode=0o755)
        monkeypatch.setattr("sysconfig.get_path", lambda _: str(script.parent))
        monkeypatch.setenv("PATH", "")
        return script

    def test_by_its_path_from_here(self, script: Path) -> None:
        assert program_here() == ".venv/bin/piapi-gateway"

    def test_by_its_whole_path_from_elsewhere(self, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (script.parent / "elsewhere").mkdir()
        monkeypatch.chdir(script.parent / "elsewhere")
        assert program_here() == str(script)

    def test_by_its_name_where_the_environment_is_active(self, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(script.parent))
        assert program_here() == "piapi-gateway"

    def test_not_by_its_name_if_that_is_another_one(self, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = script.parent.parent / "other"
        other.mkdir()
        (other / "piapi-gateway").touch(mode=0o755)
        monkeypatch.setenv("PATH", str(other))
        assert program_here() == ".venv/bin/piapi-gateway"

    def test_as_a_module_where_there_is_no_script(self, script: Path) -> None:
        script.unlink()
        assert program_here() == f"{sys.executable} -m gateway"


class TestTheUsageLine:
    @pytest.fixture(autouse=True)
    def _called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demo, "program_here", lambda: "piapi-gateway")

    def line(self, folder: Path, config: Path | None, port: int = 8401, key: str = "") -> str:
        """For a demo that listens there, and whose admin listener asks for that key."""
        admin = SimpleNamespace(key=key)
        running: Any = SimpleNamespace(
            admin_url=f"http://127.0.0.1:{port}", config=SimpleNamespace(admin=admin, store="sqlite:////demo.db")
        )
        return usage_line(running, config, folder)

    def test_is_plain_where_the_command_finds_the_gateway_by_itself(self, folder: Path) -> None:
        assert self.line(folder, None) == "piapi-gateway usage"

    def test_names_the_file_that_the_demo_was_given(self, folder: Path) -> None:
        path = folder / "my demo.yaml"
        path.write_text("admin: {listen: '127.0.0.1:9401', key: admin-0123456789abcdef}", encoding="utf-8")
        line = self.line(folder, path, 9401, "admin-0123456789abcdef")
        assert line == f"piapi-gateway usage --config '{path}'"

    @pytest.mark.parametrize("here", ["admin: {listen: '127.0.0.1:9999'}", "drian: 3s", "workers: 2"])
    def test_names_a_file_of_its_own_where_another_configuration_lies(self, folder: Path, here: str) -> None:
        (folder / "config.yaml").write_text(here, encoding="utf-8")
        own = folder / "demo"
        own.mkdir()
        assert self.line(own, None, key="admin-0123456789abcdef") == f"piapi-gateway usage --config {own}/admin.yaml"
        made = load(own / "admin.yaml", {})
        assert (str(made.admin.listen), made.admin.key) == ("127.0.0.1:8401", "admin-0123456789abcdef")
        assert made.store == "sqlite:////demo.db"
        assert (own / "admin.yaml").stat().st_mode & 0o777 == 0o600
