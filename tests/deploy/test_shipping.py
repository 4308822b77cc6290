"""Compose file, Dockerfile, systemd unit and provisioning: linted here, as nothing here can build or run them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load
from scripts.dashboards.prometheus import DEPLOY
from scripts.dashboards.queries import dashboards

ROOT = DEPLOY.parent
UNIT = DEPLOY / "systemd" / "piapi-gateway.service"
MOST_EXPOSED = 15
"""``systemd-analyze security`` in tenths, 0 (best) to 100; a service with network cannot be much below 10."""

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed: THE UNIT WAS NOT VERIFIED",
)


def tool(name: str) -> str:
    """A program of the development requirements, or of the machine; skips, loudly, without."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: WHAT IT LINTS WAS NOT LINTED")
    return found


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=60)


class TestCompose:
    def test_is_by_the_specification(self, tmp_path: Path) -> None:
        check = (tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
        done = run(*check, DEPLOY / "compose.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        wrong = tmp_path / "compose.yaml"
        wrong.write_text("services: {gateway: {imag: x}}", encoding="utf-8")
        assert run(*check, wrong).returncode != 0

    def test_is_the_three(self) -> None:
        assert set(SERVICES) == {"gateway", "prometheus", "grafana"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_images_are_pinned_by_version(self, name: str) -> None:
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])

    @pytest.mark.parametrize("name", SERVICES)
    def test_nothing_runs_as_root_or_writes_to_its_own_root(self, name: str) -> None:
        service = SERVICES[name]
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service

    @pytest.mark.parametrize("name", SERVICES)
    def test_everything_says_whether_it_is_well(self, name: str) -> None:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"

    def test_the_gateway_is_asked_whether_it_takes_requests(self) -> None:
        assert "/readyz" in " ".join(SERVICES["gateway"]["healthcheck"]["test"])
        assert "/readyz" in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")

    @pytest.mark.parametrize("name", SERVICES)
    def test_ports_are_open_to_this_machine_only(self, name: str) -> None:
        assert SERVICES[name]["ports"]
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])

    @pytest.mark.parametrize("name", SERVICES)
    def test_what_is_mounted_is_there(self, name: str) -> None:
        for volume in SERVICES[name]["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), source

    def test_secrets_come_from_outside(self) -> None:
        for service in SERVICES.values():
            for name, value in service.get("environment", {}).items():
                if name.endswith(("_KEY", "_PASSWORD")):
                    assert value.startswith("${")


ENVIRONMENT = {"PIAPI_API_KEY": "sk-piapi", "GATEWAY_ADMIN_KEY": "admin-key-0123456789"}


class TestTheGatewaysConfiguration:
    def test_is_valid(self) -> None:
        config = load(DEPLOY / "gateway.yaml", ENVIRONMENT)
        assert config.admin.key == "admin-key-0123456789"
        assert config.admin.open_metrics
        assert config.requires_key()

    def test_is_reached_where_prometheus_looks(self) -> None:
        config = load(DEPLOY / "gateway.yaml", ENVIRONMENT)
        scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == [f"gateway:{config.admin.listen.port}"]

    def test_gets_every_variable_it_asks_for(self) -> None:
        text = (DEPLOY / "gateway.yaml").read_text(encoding="utf-8")
        asked = set(re.findall(r"\$\{([A-Z_]+)", text))
        assert asked == set(SERVICES["gateway"]["environment"])


@pytest.mark.parametrize(
    ("file", "place"), [("gateway.yaml", "/data"), ("systemd/gateway.yaml", "/var/lib/piapi-gateway")]
)
class TestPlaces:
    """Both are read from a folder in which nothing can be written."""

    def test_every_path_is_absolute_and_where_it_can_be_written(self, file: str, place: str) -> None:
        config = load(DEPLOY / file, ENVIRONMENT)
        assert config.sqlite_path == Path(place) / "gateway.db"
        assert config.images.dir == Path(place) / "images"
        assert place in SERVICES["gateway"]["volumes"][1] or f"WorkingDirectory={place}" in UNIT.read_text("utf-8")

    def test_a_balancer_has_time_to_notice_the_end(self, file: str, place: str) -> None:
        config = load(DEPLOY / file, ENVIRONMENT)
        assert config.drain_delay == 5
        assert config.drain_delay + config.drain + 5 < 45

    def test_it_holds_no_secret(self, file: str, place: str) -> None:
        assert not [line for line in load(DEPLOY / file, ENVIRONMENT).warnings if "can read" in line]


class TestDockerfile:
    def test_pleases_hadolint(self, tmp_path: Path) -> None:
        hadolint = tool("hadolint")
        done = run(hadolint, "--failure-threshold", "style", DEPLOY / "Dockerfile")
        assert done.returncode == 0, done.stdout + done.stderr
        wrong = tmp_path / "Dockerfile"
        wrong.write_text("FROM python:latest\nRUN cd /tmp && sudo pip install x\n", encoding="utf-8")
        assert run(hadolint, wrong).returncode != 0

    def test_copies_only_what_reaches_the_builder(self) -> None:
        text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
        sources = [
            name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in line.split()
        ]
        allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"\n!{source}\n" in allowed, source

    def test_is_the_version_of_the_package(self) -> None:
        version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
        assert version is not None
        assert SERVICES["gateway"]["image"] == f"piapi-gateway:{version[1]}"


@needs_systemd
class TestSystemd:
    def test_the_unit_is_valid(self, tmp_path: Path) -> None:
        done = verify(tmp_path, UNIT.read_text(encoding="utf-8"))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_a_misspelt_setting_is_noticed(self, tmp_path: Path) -> None:
        """The tool only prints it, and exits with 0."""
        done = verify(tmp_path, UNIT.read_text(encoding="utf-8").replace("ProtectHome=", "ProtectHomes="))
        assert "ProtectHomes" in done.stdout + done.stderr

    def test_the_service_is_hardened(self) -> None:
        done = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)
        assert done.returncode == 0, done.stdout

    def test_a_service_that_is_not_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "plain.service"
        path.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
        done = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", path)
        assert done.returncode != 0


class TestUnit:
    def test_stopping_takes_longer_than_draining(self) -> None:
        text = UNIT.read_text(encoding="utf-8")
        assert "TimeoutStopSec=45" in text
        assert SERVICES["gateway"]["stop_grace_period"] == "45s"
        config = load(DEPLOY / "gateway.yaml", ENVIRONMENT)
        assert config.drain_delay == 5
        assert config.drain_delay + config.drain + 5 <= 45  # the last five are for closing

    @pytest.mark.skipif(shutil.which("install") is None, reason="install is not installed: ITS LINE WAS NOT RUN")
    def test_the_configuration_is_installed_with_a_drain_delay(self, tmp_path: Path) -> None:
        readme = (DEPLOY / "systemd" / "README.md").read_text(encoding="utf-8")
        [line] = re.findall(r"^sudo install .*gateway\.yaml .*$", readme, re.MULTILINE)
        line = line.replace("sudo ", "").replace("/etc/piapi-gateway/", f"{tmp_path}/")
        done = subprocess.run(["sh", "-euc", line], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        installed = tmp_path / "config.yaml"
        assert load(installed, ENVIRONMENT).drain_delay == 5


class TestProvisioning:
    FOLDER = DEPLOY / "grafana" / "provisioning"

    def test_the_data_source_is_prometheus_at_its_scrape_interval(self) -> None:
        document = yaml.safe_load((self.FOLDER / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))
        [source] = document["datasources"]
        assert source["type"] == "prometheus"
        assert source["url"] == "${PROMETHEUS_URL}"
        assert SERVICES["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
        scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]

    def test_the_folder_is_where_compose_mounts_the_dashboards(self) -> None:
        document = yaml.safe_load((self.FOLDER / "dashboards" / "piapi-gateway.yaml").read_text(encoding="utf-8"))
        [provider] = document["providers"]
        assert provider["folder"] == "PiAPI gateway"
        assert f"./grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
        assert len(dashboards()) == 4


@pytest.mark.parametrize("name", ["README.md", "grafana/README.md", "prometheus/README.md", "systemd/README.md"])
def test_readmes_name_no_file_that_is_not_there(name: str) -> None:
    path = DEPLOY / name
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link


def test_the_readme_says_that_nothing_was_built() -> None:
    assert "linted, not built" in (DEPLOY / "README.md").read_text(encoding="utf-8")


def verify(folder: Path, unit: str) -> subprocess.CompletedProcess[str]:
    """``systemd-analyze verify`` of a unit whose program exists."""
    program = folder / "piapi-gateway"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    path = folder / "piapi-gateway.service"
    path.write_text(unit.replace("/opt/piapi-gateway/bin/piapi-gateway", str(program)), encoding="utf-8")
    return run("systemd-analyze", "verify", path)
