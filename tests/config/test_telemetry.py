"""Where telemetry goes: by the file, else by the environment, else nowhere; and the secrets that go with it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.app.reloading import merged_for_reload
from gateway.config import Config, telemetry
from gateway.telemetry.redaction import Redactor

from .conftest import Faults, Load

KEY = "collector-key-0123456789"
ON = "telemetry: {otlp: http://collector:4318}"
BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def places(config: Config) -> tuple[str, str]:
    return config.telemetry.traces, config.telemetry.metrics


def both(base: str) -> tuple[str, str]:
    return f"{base}/v1/traces", f"{base}/v1/metrics"


NOWHERE = ("", "")


@pytest.mark.parametrize("text", ["", "telemetry:", "telemetry: {otlp: '', headers: {}}", 'telemetry: {otlp: ""}'])
def test_nothing_is_sent_unless_it_is_asked_for(load_text: Load, text: str) -> None:
    config = load_text(text)
    assert places(config) == NOWHERE
    assert not [warning for warning in config.warnings if "OTEL" in warning]


@pytest.mark.parametrize(
    ("base", "meant"),
    [
        ("http://collector:4318", "http://collector:4318"),
        ("https://otlp.example.com/base/", "https://otlp.example.com/base"),
        ("http://[::1]:4318", "http://[::1]:4318"),
        ("${COLLECTOR:-http://localhost:4318}", "http://localhost:4318"),
    ],
)
def test_the_files_address_is_a_base(load_text: Load, base: str, meant: str) -> None:
    assert places(load_text(f"telemetry: {{otlp: '{base}'}}")) == both(meant)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("{otlp: collector:4318}", "telemetry.otlp: expected an http or https URL"),
        ("{otlp: grpc://collector:4317}", "telemetry.otlp: expected an http or https URL"),
        ("{otlp: 'http://collector:4318/?key=1'}", "telemetry.otlp"),
        ("{otlp: 'http://me:password@collector:4318'}", "telemetry.otlp"),
        ("{otlp: 4318}", "telemetry.otlp"),
        ("{oltp: http://collector:4318}", "telemetry.oltp"),
        ("{headers: [authorization]}", "telemetry.headers"),
        ("{headers: {'no name': x}}", "telemetry.headers"),
        (f'{{headers: {{authorization: "{KEY}\\r\\nx: y"}}}}', "telemetry.headers.authorization: expected a header's"),
        ("{headers: {authorization: '${NOT_SET}'}}", "telemetry.headers.authorization"),
    ],
)
def test_what_cannot_be_is_told_with_its_place_and_without_its_value(faults: Faults, setting: str, told: str) -> None:
    [problem] = faults(f"telemetry: {setting}")
    assert told in problem
    assert KEY not in problem
    assert "password" not in problem.replace("user or password", "")


def test_headers_are_secrets(load_text: Load) -> None:
    config = load_text(
        "telemetry: {otlp: http://collector:4318, headers: {Authorization: 'Bearer ${OTLP_KEY}', X-Tenant: 7}}",
        {"OTLP_KEY": KEY},
    )
    assert config.telemetry.headers == {"authorization": f"Bearer {KEY}", "x-tenant": "7"}
    assert KEY not in repr(config)
    redactor = Redactor(config.secrets)
    assert KEY not in redactor.text(f"Bearer {KEY}")
    assert KEY not in redactor.text(f"it was {KEY}"), "also without the word before it"
    assert redactor.text("7 of 17") == "7 of 17", "a word that short hides nothing"


class TestTheEnvironment:
    def test_says_where_if_the_file_does_not(self, load_text: Load) -> None:
        assert places(load_text("", BASE)) == both("http://collector:4318")
        assert places(load_text("telemetry: {otlp: ''}", BASE)) == both("http://collector:4318")

    def test_does_not_count_beside_the_file(self, load_text: Load) -> None:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:1",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other:2/x",
        }
        assert places(load_text(ON, environ)) == both("http://collector:4318")

    def test_may_name_each_by_itself(self, load_text: Load) -> None:
        traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:1/all/of/it"}
        assert places(load_text("", traces)) == ("http://traces:1/all/of/it", "")
        assert places(load_text("", {**BASE, **traces})) == (
            "http://traces:1/all/of/it",
            "http://collector:4318/v1/metrics",
        )

    @pytest.mark.parametrize("text", ["", ON])
    def test_may_switch_it_off(self, load_text: Load, text: str) -> None:
        assert places(load_text(text, {**BASE, "OTEL_SDK_DISABLED": "true"})) == NOWHERE
        assert places(load_text(text, {**BASE, "OTEL_METRICS_EXPORTER": "none"})) == (
            "http://collector:4318/v1/traces",
            "",
        )
        assert places(load_text(text, {**BASE, "OTEL_TRACES_EXPORTER": "none"}))[0] == ""

    @pytest.mark.parametrize(
        ("environ", "told"),
        [
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "is no http or https URL"),
            ({**BASE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf only"),
        ],
    )
    def test_is_meant_for_others_too_and_so_never_refused(
        self, load_text: Load, environ: Mapping[str, str], told: str
    ) -> None:
        config = load_text("", environ)
        assert places(config) == NOWHERE
        assert any(told in warning for warning in config.warnings)

    def test_may_hold_secrets(self, load_text: Load) -> None:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{KEY},x=1"}
        config = load_text("", {**BASE, **headers})
        assert {f"Bearer {KEY}", KEY} <= config.secrets
        broken = load_text("", {**BASE, "OTEL_EXPORTER_OTLP_HEADERS": f"Bearer-{KEY}"})
        assert KEY not in Redactor(broken.secrets).text(f"not well-formed: Bearer-{KEY}")


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
@pytest.mark.parametrize("name", ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"])
class TestAVariableThatTheLibraryWouldRefuse:
    def test_is_refused_where_the_file_asks_for_traces(self, load_text: Load, name: str, value: str) -> None:
        refusal = load_text(ON, {name: value}).telemetry.refusal
        assert refusal == f"telemetry.otlp: the environment's {name} must be a number of milliseconds above 0"

    def test_is_a_warning_where_only_the_environment_does(self, load_text: Load, name: str, value: str) -> None:
        config = load_text("", {**BASE, name: value})
        assert (places(config), config.telemetry.refusal) == (NOWHERE, "")
        assert any(name in warning for warning in config.warnings)


class TestWithoutTheExtra:
    @pytest.fixture(autouse=True)
    def missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(telemetry, "find_spec", lambda name: None)

    def test_what_the_file_asks_for_is_refused(self, load_text: Load) -> None:
        assert load_text(ON).telemetry.refusal == (
            "telemetry.otlp: what sends it is not installed; run: pip install 'piapi-gateway[otel]'"
        )

    def test_what_the_environment_says_is_warned_of(self, load_text: Load) -> None:
        config = load_text("", BASE)
        assert (places(config), config.telemetry.refusal) == (NOWHERE, "")
        assert any("pip install 'piapi-gateway[otel]'" in warning for warning in config.warnings)

    def test_nothing_is_missed_where_nothing_is_sent(self, load_text: Load) -> None:
        assert not load_text("").telemetry.refusal
        assert not load_text(ON, {"OTEL_SDK_DISABLED": "true"}).telemetry.refusal


def test_a_reload_leaves_it_as_it_was_and_says_so(load_text: Load) -> None:
    old = load_text(ON)
    new = load_text(f"telemetry: {{otlp: http://another:4318, headers: {{authorization: {KEY}}}}}")
    merged, told = merged_for_reload(old, new, any_stored=False)
    assert merged.telemetry == old.telemetry
    [line] = [line for line in told.not_taken_over if line.startswith("telemetry")]
    assert (
        line == "telemetry: a reload cannot change it; the old value stays in force, the file says another: restart it"
    )
    assert KEY not in repr(told)
