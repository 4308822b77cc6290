"""From a file, or from none, to the configuration in force."""

from __future__ import annotations

import hashlib
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.config import Config, load
from gateway.config.addresses import HostPort
from gateway.config.settings import BudgetAlerts, LogConfig, Team
from gateway.core.types import Budget, FailoverPolicy, Price, TaskTimes, Timeouts

FULL = """
listen: 127.0.0.2:9400
admin: {listen: "[::1]:9401", key: admin-key-of-the-gateway, open_metrics: true}
auth: required
store: sqlite:////var/lib/gateway/ledger.db
shared_state: memory://
workers: 1
upstreams:
  piapi:
    dialect: piapi
    endpoints:
      - url: https://api.piapi.ai
        wall: 100s
      - url: http://127.0.0.1:8499/mirror/
    keys:
      - ${PIAPI_API_KEY}
      - {name: second, value: "${PIAPI_API_KEY_2:-}", weight: 2, max_parallel: 10}
    timeouts: {connect: 1s, head: 2s, content: 3s, idle: 4s, total: 5m, stream_total: 1h}
    tasks: {poll: 500ms, poll_max: 1.5s, deadline: 1h}
  spare:
    dialect: openai
    endpoints: [{url: https://relay.example.com:8443/openai/v1/}]
    keys: [spare-key]
    pass_fields: [provider, models]
models:
  gpt-4o:
    targets:
      - {upstream: spare, model: gpt-4o-2024, price: {input: 2.50, cached_input: 1.25, output: 10.00, minimum: 0.005}}
  house-mask_renderer*:
    targets:
      - {upstream: piapi, model: Qubico/flux1-dev, operation: task, price: {image: 0.015, no_image: 0.00066}}
teams: {growth: {budget: 500/month}, ops: {}}
time_zone: Europe/Berlin
budget_alerts: {webhook: https://hooks.example.com/a?b=1, secret: whsec_c2VjcmV0}
allow_unpriced: true
cost_in_answers: false
webhook_secret: hook-secret
keys:
  - name: alice
    team: growth
    key: ${ALICE_KEY}
    budget: 0.5/day
    rpm: 60
    tpm: 200_000
    parallel: 8
    models: ["gpt-4o*", "flux-*"]
  - {name: bob, key: bob-has-a-long-virtual-key}
failover:
  attempts: 4
  retry_budget: 0.25
  unknown_outcome_up_to: 0.2
  breaker: {failures: 6, window: 1m, eject: 20s, eject_max: 10m}
images:
  keep: 7d
  keep_max: 2GiB
  dir: /var/lib/gateway/images
  public_url: https://gateway.example.com/
  fetch_hosts: ["*.theapi.app"]
  fetch_private: true
nonstream_heartbeat: 25s
limits: {body: 1MiB, upload: 2MB, headers: 16KiB, in_flight: 7}
points_per_usd: 1000
flux: {extra_loras: [new-lora], extra_controls: [tile]}
drain: 0s
log: {format: text, level: debug}
"""
ENVIRON = {"PIAPI_API_KEY": "first-upstream-key", "ALICE_KEY": "alice-has-a-long-virtual-key"}


@pytest.fixture
def full(load_text) -> Config:
    return load_text(FULL, ENVIRON)


class TestWithoutAFile:
    def test_the_keys_come_from_the_environment(self):
        config = load(
            None,
            {
                "PIAPI_API_KEY": "one",
                "PIAPI_API_KEY_3": "three",
                "BACKUP_API_KEY": "backup",
                "BACKUP_BASE_URL": "https://relay.example.com/v1",
                "GATEWAY_ADMIN_KEY": "admin-of-the-environment",
            },
        )
        piapi, backup = config.upstreams["piapi"], config.upstreams["backup"]
        assert [(key.name, key.value) for key in piapi.credentials] == [("key-1", "one"), ("key-3", "three")]
        assert [(end.url, end.wall) for end in piapi.endpoints] == [
            ("https://api.piapi.ai", 120.0),
            ("https://proxy.piapi.ai", None),
        ]
        assert [end.url for end in backup.endpoints] == ["https://relay.example.com"]
        assert config.admin.key == "admin-of-the-environment"
        assert config.off == ()
        assert config.secrets == {"one", "three", "backup", "admin-of-the-environment"}

    def test_everything_else_has_its_default(self):
        config = load(None, {})
        assert str(config.listen) == "127.0.0.1:8400"
        assert str(config.admin.listen) == "127.0.0.1:8401"
        assert (config.admin.key, config.admin.open_metrics, config.auth) == ("", False, "auto")
        assert (config.store, config.sqlite_path) == ("sqlite:///gateway.db", Path("gateway.db"))
        assert (config.shared_state, config.workers, config.time_zone) == ("memory://", 1, UTC)
        assert config.failover == FailoverPolicy()
        assert config.upstreams["piapi"].timeouts == Timeouts()
        assert config.upstreams["piapi"].tasks == TaskTimes()
        assert (config.images.keep, config.images.keep_max, config.images.dir) == (86400, 1024**3, Path("images"))
        assert (config.limits.body, config.limits.upload) == (20 * 1024**2, 50 * 1024**2)
        assert (config.limits.headers, config.limits.in_flight) == (32 * 1024, 10_000)
        assert (config.nonstream_heartbeat, config.drain, config.points_per_usd) == (0, 30, 10_000_000)
        assert config.log == LogConfig("auto", "info")
        assert (config.keys, dict(config.teams), config.allow_unpriced, config.source) == ((), {}, False, None)
        assert config.cost_in_answers

    def test_no_key_at_all_switches_everything_off_and_says_so(self):
        config = load(None, {})
        assert config.off == ("piapi", "backup")
        assert all(route.targets == () for route in config.routes)
        assert config.warnings == ("no upstream has a key, so no model can be used: set PIAPI_API_KEY",)

    @pytest.mark.parametrize("text", ["", "\n# nothing but a comment\n", "---\n", "null", "{}"])
    def test_an_empty_file_means_the_same(self, load_text, text):
        environ = {"PIAPI_API_KEY": "one"}
        empty, none = load_text(text, environ), load(None, environ)
        assert empty.source == Path("config.yaml")
        assert (empty.routes, empty.upstreams, empty.limits) == (none.routes, none.upstreams, none.limits)


class TestEveryKeyOfTheFile:
    def test_listeners(self, full):
        assert full.listen == HostPort("127.0.0.2", 9400)
        assert full.admin.listen == HostPort("::1", 9401)
        assert (full.admin.key, full.admin.open_metrics) == ("admin-key-of-the-gateway", True)
        assert full.auth == "required"
        assert full.requires_key()

    def test_stores(self, full):
        assert full.sqlite_path == Path("/var/lib/gateway/ledger.db")
        assert (full.shared_state, full.workers) == ("memory://", 1)

    def test_upstreams(self, full):
        piapi, spare = full.upstreams["piapi"], full.upstreams["spare"]
        assert [(end.url, end.wall) for end in piapi.endpoints] == [
            ("https://api.piapi.ai", 100.0),
            ("http://127.0.0.1:8499/mirror", None),
        ]
        mirror = piapi.endpoints[1]
        assert (mirror.scheme, mirror.host, mirror.port, mirror.base_path) == ("http", "127.0.0.1", 8499, "/mirror")
        assert piapi.timeouts == Timeouts(1, 2, 3, 4, 300, 3600)
        assert piapi.tasks == TaskTimes(0.5, 1.5, 3600)
        assert [key.name for key in piapi.credentials] == ["key-1"]  # the second one came out empty
        assert spare.endpoints[0].url == "https://relay.example.com:8443/openai"
        assert (piapi.pass_fields, spare.pass_fields) == (frozenset(), {"provider", "models"})

    def test_models(self, full):
        routes = {route.model: route for route in full.routes}
        (target,) = routes["gpt-4o"].targets
        assert (target.upstream.name, target.model, target.operation) == ("spare", "gpt-4o-2024", "chat")
        assert target.price == Price(
            input=2_500_000_000, cached_input=1_250_000_000, output=10_000_000_000, minimum=5_000_000
        )
        (mask_renderer,) = routes["house-mask_renderer*"].targets
        assert (mask_renderer.model, mask_renderer.operation) == ("Qubico/flux1-dev", "task")
        assert mask_renderer.price == Price(image=15_000_000, no_image=660_000)

    def test_people(self, full):
        assert dict(full.teams) == {
            "growth": Team("growth", Budget(500_000_000_000, "month")),
            "ops": Team("ops", None),
        }
        alice, bob = full.keys
        assert alice.digest == hashlib.sha256(b"alice-has-a-long-virtual-key").digest()
        assert (alice.name, alice.team, alice.models) == ("alice", "growth", ("gpt-4o*", "flux-*"))
        assert (alice.rpm, alice.tpm, alice.parallel) == (60, 200_000, 8)
        assert alice.budget == Budget(500_000_000, "day")
        assert (bob.team, bob.models, bob.rpm, bob.budget) == (None, ("*",), None, None)
        assert full.time_zone == ZoneInfo("Europe/Berlin")
        assert full.budget_alerts == BudgetAlerts("https://hooks.example.com/a?b=1", "whsec_c2VjcmV0")
        assert full.allow_unpriced
        assert not full.cost_in_answers
        assert full.webhook_secret == "hook-secret"

    def test_failover(self, full):
        assert full.failover == FailoverPolicy(4, 0.25, 200_000_000, 6, 60, 20, 600)

    def test_the_rest(self, full):
        assert (full.images.keep, full.images.keep_max) == (604_800, 2 * 1024**3)
        assert (full.images.dir, full.images.public_url) == (
            Path("/var/lib/gateway/images"),
            "https://gateway.example.com",
        )
        assert (full.images.fetch_hosts, full.images.fetch_private) == (("*.theapi.app",), True)
        assert (full.limits.body, full.limits.upload, full.limits.headers) == (1024**2, 2_000_000, 16 * 1024)
        assert (full.limits.in_flight, full.points_per_usd, full.nonstream_heartbeat) == (7, 1000, 25)
        assert full.flux.loras[-1] == "new-lora"
        assert full.flux.controls[-1] == "tile"
        assert (full.drain, full.log) == (0, LogConfig("text", "debug"))


class TestSecrets:
    def test_all_of_them_are_known_for_striking_out(self, load_text):
        config = load_text(FULL.replace("sqlite:////var/lib/gateway/ledger.db", "postgresql://u:p%40ss@h/d"), ENVIRON)
        assert config.secrets == {
            "first-upstream-key",
            "spare-key",
            "alice-has-a-long-virtual-key",
            "bob-has-a-long-virtual-key",
            "admin-key-of-the-gateway",
            "hook-secret",
            "whsec_c2VjcmV0",
            "p%40ss",
            "p@ss",
        }

    def test_none_shows_in_a_printed_configuration(self, load_text):
        config = load_text(FULL.replace("sqlite:////var/lib/gateway/ledger.db", "postgresql://u:p%40ss@h/d"), ENVIRON)
        printed = repr(config)
        assert [secret for secret in config.secrets if secret in printed] == []
        assert config.budget_alerts.webhook
        assert config.budget_alerts.webhook not in printed, "the addresses of chat services are secrets"

    def test_blanks_around_a_key_are_dropped(self, load_text):
        config = load_text("", {"PIAPI_API_KEY": "one\n"})
        assert config.upstreams["piapi"].credentials[0].value == "one"


class TestAuthentication:
    @pytest.mark.parametrize(
        ("text", "needed"),
        [
            ("", False),
            ("auth: none", False),
            ("auth: required", True),
            ("listen: 0.0.0.0:8400", True),
            ("listen: localhost:8400", False),
            ("keys: [{name: alice, key: alice-has-a-long-virtual-key}]", True),
        ],
    )
    def test_when_a_key_is_asked_for(self, load_text, text, needed):
        assert load_text(text).requires_key() is needed

    def test_stored_keys_count_too(self, load_text):
        assert load_text("").requires_key(stored_keys=True)
        assert not load_text("auth: none").requires_key(stored_keys=True)


def test_a_short_virtual_key_is_warned_of_without_showing_it(load_text):
    config = load_text("keys: [{name: alice, key: hunter2}]", {"PIAPI_API_KEY": "one"})
    (warning,) = config.warnings
    assert "'alice'" in warning
    assert "hunter2" not in warning
