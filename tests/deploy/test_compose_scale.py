"""The fleet's compose file and what it mounts: linted, and held against the gateway's own configuration."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import Config, load
from scripts.dashboards.prometheus import DEPLOY

from .test_prometheus import needs_promtool, promtool
from .test_shipping import SERVICES as ALONE
from .test_shipping import run, tool

FILE = DEPLOY / "compose.scale.yaml"
SCALE = DEPLOY / "scale"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENVIRONMENT = {
    "PIAPI_API_KEY": "sk-piapi",
    "GATEWAY_ADMIN_KEY": "admin-key-0123456789",
    "GATEWAY_KEY_PEPPER": "ab" * 32,
    "POSTGRES_PASSWORD": "one",
    "VALKEY_PASSWORD": "two",
}
TEXT = (SCALE / "haproxy.cfg").read_text(encoding="utf-8")

each = pytest.mark.parametrize("name", SERVICES)


@pytest.fixture(scope="module")
def config() -> Config:
    return load(SCALE / "gateway.yaml", ENVIRONMENT)


class TestCompose:
    def test_is_by_the_specification(self) -> None:
        done = run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_is_three_gateways_and_what_they_need(self) -> None:
        assert set(SERVICES) == {"gateway", "balancer", "postgres", "valkey", "prometheus", "grafana"}
        assert SERVICES["gateway"]["scale"] == 3

    @each
    def test_images_are_pinned_by_version(self, name: str) -> None:
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-bookworm)?", SERVICES[name]["image"])

    def test_what_the_other_file_has_too_is_the_same_version(self) -> None:
        for name in ("gateway", "prometheus", "grafana"):
            assert SERVICES[name]["image"] == ALONE[name]["image"]
            assert SERVICES[name]["user"] == ALONE[name]["user"]

    @each
    def test_nothing_runs_as_root_or_writes_to_its_own_root(self, name: str) -> None:
        service = SERVICES[name]
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service

    @each
    def test_everything_says_whether_it_is_well(self, name: str) -> None:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"

    def test_only_the_front_is_reached_from_this_machine(self) -> None:
        published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        assert set(published) == {"balancer", "prometheus", "grafana"}
        assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)

    @each
    def test_what_is_mounted_is_there(self, name: str) -> None:
        for volume in SERVICES[name].get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), source

    def test_secrets_come_from_outside_and_are_in_no_argument(self) -> None:
        for service in SERVICES.values():
            for name, value in service.get("environment", {}).items():
                if name.endswith(("_KEY", "_PASSWORD", "_PEPPER")):
                    assert value.startswith("${")
            words = [*service.get("command", ()), *service["healthcheck"]["test"]]
            assert not [word for word in words if re.search(r"(?<!\$)\$\{", word)], "compose would write it there"

    def test_gateways_share_a_folder_and_the_balancer_waits_for_them(self) -> None:
        assert "fleet-data:/data" in SERVICES["gateway"]["volumes"]
        assert SERVICES["gateway"]["depends_on"].keys() == {"postgres", "valkey"}
        assert SERVICES["balancer"]["depends_on"] == {"gateway": {"condition": "service_healthy"}}

    def test_valkey_keeps_nothing_and_throws_nothing_away(self) -> None:
        [script] = [word for word in SERVICES["valkey"]["command"] if "valkey-server" in word]
        assert "--save '' --appendonly no" in script
        assert "--maxmemory-policy noeviction" in script
        assert "--requirepass" not in script, "every process of the machine could read it"


class TestTheGatewaysConfiguration:
    def test_is_a_fleets(self, config: Config) -> None:
        assert config.store == "postgresql://gateway:one@postgres:5432/gateway"
        assert config.shared_state == "redis://:two@valkey:6379/0"
        assert config.images.dir == Path("/data/images")
        assert config.requires_key()

    def test_gets_every_variable_it_asks_for(self) -> None:
        asked = set(re.findall(r"\$\{([A-Z_]+)", (SCALE / "gateway.yaml").read_text(encoding="utf-8")))
        assert asked | {"GATEWAY_KEY_PEPPER"} == set(SERVICES["gateway"]["environment"])

    def test_believes_the_balancer_alone(self, config: Config) -> None:
        [pool] = COMPOSE["networks"]["fleet"]["ipam"]["config"]
        text = (SCALE / "gateway.yaml").read_text(encoding="utf-8")
        assert yaml.safe_load(text)["trusted_proxies"] == [pool["subnet"]]
        assert ipaddress.ip_network(pool["subnet"]).num_addresses >= 32

    def test_has_time_to_drain(self, config: Config) -> None:
        assert SERVICES["gateway"]["stop_grace_period"] == "45s"
        assert config.drain_delay + config.drain + 5 <= 45
        check = re.search(r"check inter (\d+)s fall (\d+)", TEXT)
        assert check is not None
        assert int(check[1]) * int(check[2]) < config.drain_delay, "the balancer notices before requests are refused"


class TestBalancer:
    """That the file is one, and what it does, is tried in tests/e2e/test_fleet_balancers.py."""

    def test_finds_the_gateways_where_they_listen(self, config: Config) -> None:
        assert f" gateway:{config.listen.port} " in TEXT
        assert "balance leastconn\n" in TEXT
        assert f"bind :{config.listen.port}\n" in TEXT

    def test_has_room_for_as_many_as_the_readme_says(self) -> None:
        [most] = re.findall(r"server-template gateway 1-(\d+) ", TEXT)
        assert f"up to {most}:" in FILE.read_text(encoding="utf-8")


class TestPrometheus:
    @needs_promtool
    def test_the_configuration_is_valid(self, tmp_path: Path) -> None:
        path = tmp_path / "prometheus.yml"
        path.write_bytes((SCALE / "prometheus.yml").read_bytes())
        (tmp_path / "rules").symlink_to(DEPLOY / "prometheus" / "rules")
        done = promtool("check", "config", "--lint-fatal", path)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_gateway_is_scraped_by_its_own_address(self, config: Config) -> None:
        jobs = yaml.safe_load((SCALE / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
        [gateways, haproxy] = jobs
        assert gateways["job_name"] == "piapi-gateway"
        [found] = gateways["dns_sd_configs"]
        assert (found["names"], found["type"], found["port"]) == (["gateway"], "A", config.admin.listen.port)
        assert haproxy["static_configs"] == [{"targets": ["balancer:8404"]}]
        assert "bind :8404\n" in TEXT


def test_the_readme_has_the_lines_to_begin_with() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert "docker compose --file compose.scale.yaml up" in text
    for variable in SERVICES["gateway"]["environment"]:
        if variable.endswith(("_PEPPER", "_PASSWORD")):
            assert f"\n{variable}=$(openssl rand -hex " in text
