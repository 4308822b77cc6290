"""The Helm chart: rendered over several files of values by Helm's own library, and every document looked at.

Kubernetes' own schemas say whether a document is one; the gateway says whether its configuration is; there is no
cluster, so nothing was applied.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.config import Config, load
from gateway.endpoints.health import PATHS
from scripts.build_dashboards import FOLDER

from .chart import CHART, NAME, NAMESPACE, VALUES, Document, needs_helm, only, pods, render, rendered, values_of
from .custom_resources import SCHEMAS
from .test_prometheus import RULES, needs_promtool, promtool
from .test_shipping import SERVICES

pytestmark = needs_helm

KUBERNETES = ("1.29", "1.33", "1.37")
CLOSING = 5
"""Seconds that closing takes at most, after draining."""
ENVIRONMENT = {
    "PIAPI_API_KEY": "sk-piapi",
    "GATEWAY_ADMIN_KEY": "admin-key-0123456789",
    "GATEWAY_KEY_PEPPER": "ab" * 32,
    "GATEWAY_STORE": "postgresql://gateway:secret@postgres:5432/gateway",
    "GATEWAY_SHARED_STATE": "redis://:secret@valkey:6379/0",
    "PG_PASSWORD": "secret",
    "VALKEY_PASSWORD": "secret",
}

each = pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)


def file(stem: str) -> Path:
    [found] = [path for path in VALUES if path.stem == stem]
    return found


def with_values(stem: str = "defaults", **changes: Any) -> Document:
    return {**deepcopy(values_of(file(stem))), **changes}


class TestDocuments:
    @pytest.mark.parametrize("version", KUBERNETES)
    @each
    def test_are_what_kubernetes_knows(self, path: Path, version: str) -> None:
        if importlib.util.find_spec("kubernetes_validate") is None:
            pytest.skip("kubernetes-validate is not installed: NO DOCUMENT WAS VALIDATED")
        import kubernetes_validate

        for document in rendered(path):
            if document["kind"] not in SCHEMAS:
                kubernetes_validate.validate(deepcopy(document), version, strict=True)

    def test_a_misspelt_field_is_noticed(self) -> None:
        kubernetes_validate = pytest.importorskip("kubernetes_validate")
        wrong = deepcopy(only(rendered(file("defaults")), "Deployment"))
        wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)

    @each
    def test_custom_resources_are_by_their_schemas(self, path: Path) -> None:
        for document in rendered(path):
            if document["kind"] in SCHEMAS:
                jsonschema.validate(document, SCHEMAS[document["kind"]])

    def test_every_kind_comes_in_some_file(self) -> None:
        kinds = {document["kind"] for path in VALUES for document in rendered(path)}
        assert kinds == {
            "ConfigMap",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Job",
            "NetworkPolicy",
            "PersistentVolumeClaim",
            "Pod",
            "PodDisruptionBudget",
            "PrometheusRule",
            "ScaledObject",
            "Service",
            "ServiceAccount",
            "ServiceMonitor",
        }

    @each
    def test_names_differ_and_are_short_enough(self, path: Path) -> None:
        named = [(document["kind"], document["metadata"]["name"]) for document in rendered(path)]
        assert len(set(named)) == len(named)
        assert all(len(name) <= 63 for _, name in named)

    @each
    def test_no_secret_is_made_or_written(self, path: Path) -> None:
        assert "Secret" not in {document["kind"] for document in rendered(path)}
        assert "secret@" not in json.dumps(rendered(path))

    def test_lint_has_nothing_to_say(self) -> None:
        import helm_python

        for path in VALUES:
            report = helm_python.lint(CHART, values_of(path), strict=True)
            assert report["errors"] == []
            assert [said for said in report["messages"] if said["severity"] > 1] == []


class TestPods:
    @each
    def test_fit_the_restricted_standard(self, path: Path) -> None:
        """Kubernetes' Pod Security Standards, the strictest of them, and a root that cannot be written besides."""
        assert pods(rendered(path))
        for pod in pods(rendered(path)):
            assert pod["automountServiceAccountToken"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
            assert user == SERVICES["gateway"]["user"]
            for volume in pod.get("volumes", ()):
                assert volume.keys() & {"configMap", "emptyDir", "persistentVolumeClaim"}
            for container in pod["containers"]:
                security = container["securityContext"]
                assert security["allowPrivilegeEscalation"] is False
                assert security["privileged"] is False
                assert security["readOnlyRootFilesystem"] is True
                assert security["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}
                assert "memory" in container["resources"]["limits"]

    @each
    def test_probes_ask_what_they_are_for(self, path: Path) -> None:
        alive, ready = PATHS
        [container] = _pod(path)["containers"]
        for probe, asked in {"startupProbe": alive, "livenessProbe": alive, "readinessProbe": ready}.items():
            assert container[probe]["httpGet"] == {"path": asked, "port": "http"}

    @each
    def test_are_not_killed_before_they_have_drained(self, path: Path) -> None:
        drain = {
            **yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))["drain"],
            **values_of(path).get("drain", {}),
        }
        assert drain["preStopSeconds"] > drain["seconds"]
        assert _pod(path)["terminationGracePeriodSeconds"] >= sum(drain.values()) + CLOSING
        config = _config(path)
        assert (config["drain_delay"], config["drain"]) == (f"{drain['delaySeconds']}s", f"{drain['seconds']}s")

    @each
    def test_spread_by_labels_they_have(self, path: Path) -> None:
        labels = only(rendered(path), "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert {by["topologyKey"] for by in _pod(path)["topologySpreadConstraints"]} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
        for constraint in _pod(path)["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()

    def test_are_the_image_that_compose_builds(self) -> None:
        [container] = _pod(file("defaults"))["containers"]
        assert container["image"] == SERVICES["gateway"]["image"]
        [container] = _pod(file("hpa"))["containers"]
        assert container["image"].startswith("registry.example.com/piapi-gateway@sha256:")

    def test_roll_when_the_configuration_changes(self) -> None:
        sums = {
            yaml.safe_load(render(values)["piapi-gateway/templates/deployment.yaml"])["spec"]["template"]["metadata"][
                "annotations"
            ]["checksum/config"]
            for values in ({}, {"config": {"limits": {"in_flight": 10}}}, {"config": {"limits": {"in_flight": 11}}})
        }
        assert len(sums) == 3


class TestTheGatewaysConfiguration:
    @each
    def test_is_valid(self, path: Path, tmp_path: Path) -> None:
        config = _loaded(path, tmp_path)
        assert config.requires_key()
        assert config.admin.key == ENVIRONMENT["GATEWAY_ADMIN_KEY"]
        assert config.images.dir == Path("/data/images")

    @each
    def test_ports_are_those_the_gateway_listens_on(self, path: Path, tmp_path: Path) -> None:
        config = _loaded(path, tmp_path)
        [container] = _pod(path)["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == {"http": config.listen.port, "admin": config.admin.listen.port}
        for document in rendered(path):
            if document["kind"] == "Service":
                assert all(port["targetPort"] in ports for port in document["spec"]["ports"])

    @each
    def test_has_no_password(self, path: Path) -> None:
        assert "secret" not in json.dumps(_config(path))
        assert [line for line in _config(path)["store"] if line == "$"], "a reference, filled from a Secret"


class TestSelectors:
    @each
    def test_services_and_budget_find_the_gateways_and_nothing_else(self, path: Path) -> None:
        labels = only(rendered(path), "Deployment")["spec"]["template"]["metadata"]["labels"]
        others = [
            document["spec"]["template"]["metadata"]["labels"]
            if "template" in document["spec"]
            else document["metadata"]["labels"]
            for document in rendered(path)
            if document["kind"] in ("Job", "Pod")
        ]
        selectors = [document["spec"]["selector"] for document in rendered(path) if document["kind"] == "Service"]
        selectors += [
            document["spec"]["selector"]["matchLabels"]
            for document in rendered(path)
            if document["kind"] in ("Deployment", "PodDisruptionBudget")
        ]
        assert len(selectors) >= 3
        for selector in selectors:
            assert selector.items() <= labels.items()
            assert not any(selector.items() <= other.items() for other in others)

    def test_the_monitor_finds_the_admin_service_alone(self) -> None:
        documents = rendered(file("hpa"))
        monitor = only(documents, "ServiceMonitor")
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [
            document
            for document in documents
            if document["kind"] == "Service" and wanted <= document["metadata"]["labels"].items()
        ]
        assert [document["metadata"]["name"] for document in found] == [f"{NAME}-admin"]
        [endpoint] = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in found[0]["spec"]["ports"]}
        assert "authorization" not in endpoint
        [endpoint] = only(rendered(file("keda")), "ServiceMonitor")["spec"]["endpoints"]
        assert endpoint["authorization"]["credentials"]["key"] == "GATEWAY_ADMIN_KEY"


class TestScaling:
    def test_by_the_horizontal_autoscaler(self) -> None:
        spec = only(rendered(file("hpa")), "HorizontalPodAutoscaler")["spec"]
        assert spec["scaleTargetRef"]["name"] == NAME
        [in_flight, cpu] = spec["metrics"]
        assert in_flight["pods"]["metric"]["name"] in (FOLDER.parents[2] / "docs" / "metrics.md").read_text("utf-8")
        assert cpu["resource"]["target"]["averageUtilization"] == 70
        assert "replicas" not in only(rendered(file("hpa")), "Deployment")["spec"], (
            "they would be set back each upgrade"
        )

    def test_by_keda(self) -> None:
        spec = only(rendered(file("keda")), "ScaledObject")["spec"]
        [trigger] = spec["triggers"]
        assert trigger["metadata"]["threshold"] == "150"
        assert trigger["metadata"]["query"] == (
            f'sum(gateway_requests_in_flight{{namespace="{NAMESPACE}", service="{NAME}-admin"}})'
        )
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 40)

    def test_pods_go_slowly(self) -> None:
        behaviors = [
            only(rendered(file("hpa")), "HorizontalPodAutoscaler")["spec"]["behavior"],
            only(rendered(file("keda")), "ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"][
                "behavior"
            ],
        ]
        for behavior in behaviors:
            assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


class TestMonitoring:
    def test_rules_are_the_ones_of_deploy(self) -> None:
        groups = {
            group["name"]
            for document in rendered(file("hpa"))
            if document["kind"] == "PrometheusRule"
            for group in document["spec"]["groups"]
        }
        assert groups == {
            group["name"] for path in RULES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        }

    @needs_promtool
    def test_promtool_takes_them(self, tmp_path: Path) -> None:
        for document in rendered(file("hpa")):
            if document["kind"] == "PrometheusRule":
                path = tmp_path / f"{document['metadata']['name']}.yml"
                path.write_text(yaml.safe_dump(document["spec"]), encoding="utf-8")
                done = promtool("check", "rules", "--lint-fatal", path)
                assert done.returncode == 0, done.stdout + done.stderr

    def test_dashboards_are_the_ones_of_deploy(self) -> None:
        shown = {
            name: json.loads(text)
            for document in rendered(file("hpa"))
            if document["kind"] == "ConfigMap" and "grafana_dashboard" in document["metadata"]["labels"]
            for name, text in document["data"].items()
        }
        assert shown == {path.name: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}


class TestNetworkPolicy:
    def test_the_way_out_is_the_engines_and_the_public_network(self) -> None:
        spec = only(rendered(file("defaults")), "NetworkPolicy")["spec"]
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        ports = [port["port"] for rule in spec["egress"] for port in rule["ports"]]
        assert ports == [53, 53, 5432, 6379, 443]
        [public] = [block["ipBlock"] for block in spec["egress"][-1]["to"] if block["ipBlock"]["cidr"] == "0.0.0.0/0"]
        assert "169.254.0.0/16" in public["except"], "the cloud's metadata"

    def test_the_admin_port_is_for_the_monitoring_alone(self) -> None:
        ingress = only(rendered(file("defaults")), "NetworkPolicy")["spec"]["ingress"]
        [admin] = [rule for rule in ingress if rule["ports"][0]["port"] == "admin"]
        assert admin["from"]
        assert all(rule["ports"][0]["port"] == "http" for rule in ingress if rule is not admin)
        strict = only(rendered(file("strict-network")), "NetworkPolicy")["spec"]
        assert [rule["ports"][0]["port"] for rule in strict["ingress"]] == ["http"], "no monitoring: it is shut"

    def test_what_is_asked_for_is_what_is_allowed(self) -> None:
        spec = only(rendered(file("strict-network")), "NetworkPolicy")["spec"]
        ports = [port["port"] for rule in spec["egress"] for port in rule["ports"]]
        assert ports == [53, 53, 5433, 6380, 443, 8443, 3128]
        assert all("to" in rule for rule in spec["egress"][1:])


class TestMigration:
    @each
    def test_comes_before_the_pods_with_what_it_needs(self, path: Path) -> None:
        jobs = [document for document in rendered(path) if document["kind"] == "Job"]
        if path.stem == "one-pod":
            assert jobs == []
            return
        [job] = jobs
        assert set(job["metadata"]["annotations"]["helm.sh/hook"].split(",")) == {"pre-install", "pre-upgrade"}
        [container] = job["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["migrate", "--config", "/etc/piapi-gateway/config.yaml"], (
            "no URL: it has a password"
        )
        [volume] = [volume for volume in job["spec"]["template"]["spec"]["volumes"] if "configMap" in volume]
        configuration = only(rendered(path), "ConfigMap", volume["configMap"]["name"])
        earlier = configuration["metadata"]["annotations"]
        assert int(earlier["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
        assert configuration["data"] == only(rendered(path), "ConfigMap", NAME)["data"]
        [serving] = _pod(path)["containers"]
        assert container["envFrom"] == serving["envFrom"]
        assert container["image"] == serving["image"]


REFUSED = {
    "one volume for one pod": ({"persistence": {"accessModes": ["ReadWriteOnce"]}}, "ReadWriteMany is needed"),
    "no volume": ({"persistence": {"enabled": False}}, "one folder"),
    "no volume, and pods that come": (
        {"persistence": {"enabled": False}, "replicaCount": 1, "autoscaling": {"enabled": True}},
        "one folder",
    ),
    "sqlite": ({"store": "sqlite:////data/gateway.db"}, "needs PostgreSQL"),
    "nothing shared": ({"sharedState": "memory://"}, "Valkey or Redis"),
    "a password": ({"store": "postgresql://gateway:hunter2@postgres/gateway"}, "a password stands in the values"),
    "a password without a name": ({"sharedState": "redis://:hunter2@valkey:6379"}, "a password stands in the values"),
    "a preStop that is too short": ({"drain": {"preStopSeconds": 30}}, "more than drain.seconds"),
    "fewer than the fewest": (
        {"autoscaling": {"enabled": True, "minReplicas": 13}},
        "autoscaling.minReplicas is more",
    ),
    "what the chart sets": ({"config": {"store": "sqlite:///x.db"}}, "config.store is set by the chart"),
}


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_say_what_to_do(self, case: str) -> None:
        values, words = REFUSED[case]
        with pytest.raises(Exception, match=words):
            render(values)

    def test_never_repeat_the_password(self) -> None:
        with pytest.raises(Exception) as raised:
            render({"store": "postgresql://gateway:hunter2@postgres/gateway"})
        assert "hunter2" not in str(raised.value)

    @pytest.mark.parametrize(
        "values",
        [
            {"replicas": 3},
            {"replicaCount": 0},
            {"image": {"repository": "x", "tag": "latest"}},
            {"image": {"repository": "x", "digest": "sha256:12"}},
            {"existingSecrets": []},
            {"autoscaling": {"engine": "vpa"}},
            {"persistence": {"accessModes": ["ReadWriteMaybe"]}},
            {"serviceMonitor": {"interval": "15"}},
            {"networkPolicy": {"postgresql": {"port": 0}}},
            {"drain": {"seconds": "30s"}},
        ],
        ids=json.dumps,
    )
    def test_by_the_schema(self, values: Document) -> None:
        import helm_python

        with pytest.raises(helm_python.HelmValuesError):
            render(values)

    def test_the_schema_knows_every_value(self) -> None:
        """In both directions: nothing in values.yaml that it does not describe, nothing described that is not there."""
        schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
        values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
        assert schema["properties"].keys() - {"global"} == values.keys()


class TestNotes:
    @each
    def test_name_what_was_made(self, path: Path) -> None:
        notes = render(values_of(path))["piapi-gateway/templates/NOTES.txt"]
        deployment = only(rendered(path), "Deployment")["metadata"]["name"]
        assert f"exec deploy/{deployment} -- piapi-gateway status" in notes
        assert ("networkPolicy.enabled is false" in notes) == (path.stem == "one-pod")
        assert ("One pod alone" in notes) == (path.stem == "one-pod")


class TestReadme:
    def test_names_every_secret_the_configuration_asks_for(self) -> None:
        text = (CHART / "README.md").read_text("utf-8")
        for name in (
            "PIAPI_API_KEY",
            "GATEWAY_ADMIN_KEY",
            "GATEWAY_KEY_PEPPER",
            "GATEWAY_STORE",
            "GATEWAY_SHARED_STATE",
        ):
            assert f"\n{name}=" in text
            assert name in (CHART / "values.yaml").read_text("utf-8")

    def test_the_adapters_rule_makes_the_metric_that_is_asked_for(self) -> None:
        text = (CHART / "README.md").read_text("utf-8")
        block = text.split("```yaml\n")[1].split("```")[0]
        [rule] = yaml.safe_load(block)["rules"]["custom"]
        [in_flight, _] = only(rendered(file("hpa")), "HorizontalPodAutoscaler")["spec"]["metrics"]
        assert rule["name"]["as"] == in_flight["pods"]["metric"]["name"]


def test_the_package_holds_what_the_links_lead_to(tmp_path: Path) -> None:
    """``files/`` leads to deploy/prometheus and deploy/grafana; a package must have them as files."""
    import helm_python

    archive = Path(helm_python.package(CHART, destination=tmp_path))
    shutil.unpack_archive(archive, tmp_path)
    packed = tmp_path / "piapi-gateway" / "files"
    assert {path.name for path in (packed / "rules").iterdir()} == {path.name for path in RULES}
    assert not any(path.is_symlink() for path in packed.rglob("*"))
    unpacked = render(values_of(file("hpa")), tmp_path / "piapi-gateway")
    assert unpacked == render(values_of(file("hpa")))


def _pod(path: Path) -> Document:
    return dict(only(rendered(path), "Deployment")["spec"]["template"]["spec"])


def _config(path: Path) -> Document:
    name = only(rendered(path), "Deployment")["metadata"]["name"]
    return dict(yaml.safe_load(only(rendered(path), "ConfigMap", name)["data"]["config.yaml"]))


def _loaded(path: Path, folder: Path) -> Config:
    name = only(rendered(path), "Deployment")["metadata"]["name"]
    written = folder / "config.yaml"
    written.write_text(only(rendered(path), "ConfigMap", name)["data"]["config.yaml"], encoding="utf-8")
    return load(written, ENVIRONMENT)
