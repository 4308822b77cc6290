"""The Kubernetes manifest and the page about it: parsed, and held against the gateway's own configuration.

There is no cluster here: nothing was applied.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import Config, load
from gateway.endpoints.health import PATHS
from scripts.dashboards.prometheus import DEPLOY

from .test_shipping import SERVICES

DOCUMENTS: dict[str, dict[str, Any]] = {
    document["kind"]: document
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
}
POD: dict[str, Any] = DOCUMENTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
CLOSING = 5
"""Seconds that closing takes at most, after draining."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(DOCUMENTS["ConfigMap"]["data"]["config.yaml"], encoding="utf-8")
    return load(path, {"PIAPI_API_KEY": "sk-piapi", "GATEWAY_ADMIN_KEY": "admin-key-0123456789"})


def test_everything_is_there_by_one_name() -> None:
    assert set(DOCUMENTS) == {"ConfigMap", "PersistentVolumeClaim", "Deployment", "Service"}
    assert {document["metadata"]["name"] for document in DOCUMENTS.values()} == {"piapi-gateway"}


def test_ports_are_those_the_gateway_listens_on(config: Config) -> None:
    assert {"http": config.listen.port, "admin": config.admin.listen.port} == PORTS
    assert {port["name"]: port["port"] for port in DOCUMENTS["Service"]["spec"]["ports"]} == PORTS
    assert all(port["targetPort"] == port["name"] for port in DOCUMENTS["Service"]["spec"]["ports"])


def test_probes_ask_what_they_are_for() -> None:
    alive, ready = PATHS
    wanted = {"startupProbe": alive, "livenessProbe": alive, "readinessProbe": ready}
    for probe, path in wanted.items():
        assert CONTAINER[probe]["httpGet"] == {"path": path, "port": "http"}


def test_readiness_is_noticed_within_the_drain_delay(config: Config) -> None:
    probe = CONTAINER["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < config.drain_delay


def test_it_is_not_killed_before_it_has_drained(config: Config) -> None:
    assert POD["terminationGracePeriodSeconds"] >= config.drain_delay + config.drain + CLOSING


def test_one_process_at_a_time_has_the_store(config: Config) -> None:
    spec = DOCUMENTS["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert DOCUMENTS["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    mounted = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert config.store == f"sqlite:///{mounted['data']}/gateway.db"
    assert {volume["name"] for volume in POD["volumes"]} == set(mounted)


def test_labels_lead_to_one_another() -> None:
    labels = DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert DOCUMENTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert DOCUMENTS["Service"]["spec"]["selector"] == labels


def test_it_is_the_image_that_compose_builds_and_its_user() -> None:
    assert CONTAINER["image"] == SERVICES["gateway"]["image"]
    security = POD["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == SERVICES["gateway"]["user"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_page_shows_what_the_manifest_has() -> None:
    page = (DEPLOY.parent / "docs" / "load-balancers.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```yaml\n(terminationGracePeriodSeconds.*?)^```$", page, re.S | re.M)
    shown = yaml.safe_load(block)
    assert shown["terminationGracePeriodSeconds"] == POD["terminationGracePeriodSeconds"]
    for probe, lines in shown["containers"][0].items():
        assert lines.items() <= CONTAINER[probe].items()
