"""What a configuration means while it is in force."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from gateway.app.snapshots import Snapshots
from gateway.config import load
from gateway.core.routing.route_table import UpstreamStates
from gateway.exchange.services import Snapshot
from gateway.images.mask_renderer import MaskRenderer
from gateway.telemetry.redaction import Redactor
from tests.core.builders import Chance
from tests.exchange.fakes import Clock, Log

ADMIN_KEY, HOOK, PIAPI_KEY = "the-admin-key-0123456789", "the-webhook-secret-0123456789", "the-piapi-key-0123456789"


class Maker:
    """The parts of a gateway that snapshots are made from."""

    def __init__(self) -> None:
        self.log = Log()
        self.log.redactor = Redactor(["first-secret-value"])
        tokenizer, chance = cast("Any", SimpleNamespace(count=len)), cast("Any", Chance(0.5))
        self.parts = Snapshots(tokenizer, cast("Any", self.log), Clock(), chance, nothing_kept, MaskRenderer())

    def take(self, text: str, tmp_path: Any) -> Snapshot:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        config = load(path, {"PIAPI_KEY": PIAPI_KEY})
        return self.parts.take(config, UpstreamStates(config.upstreams.values(), config.failover))


async def nothing_kept(name: str) -> None:
    return None


def test_both_listeners_go_by_the_names_of_the_file_and_by_their_own(tmp_path: Any) -> None:
    taken = Maker().take("hosts: [gateway.example]\nlisten: 10.1.2.3:8400\nauth: required\n", tmp_path)
    assert set(taken.hosts) == {"gateway.example", "10.1.2.3"}
    assert set(taken.admin_hosts) == {"gateway.example", "127.0.0.1"}


def test_another_configuration_is_another_snapshot_and_the_first_stays_as_it_was(tmp_path: Any) -> None:
    maker = Maker()
    before = maker.take("", tmp_path)
    maker.log.redactor = Redactor(["second-secret-value"])
    after = maker.take(f"admin: {{key: {ADMIN_KEY}}}\ncost_in_answers: false\n", tmp_path)
    assert (before.admin_key or "", before.cost_in_answers) == ("", True)
    assert (after.admin_key, after.cost_in_answers) == (ADMIN_KEY, False)
    words = b"first-secret-value and second-secret-value"
    assert b"second-secret-value" in before.image_orders.tools.redact(words)
    assert b"second-secret-value" not in after.image_orders.tools.redact(words)


def test_no_secret_stands_in_what_is_printed_of_it(tmp_path: Any) -> None:
    hooks = f"webhook_secret: {HOOK}\nimages: {{public_url: 'https://gateway.example'}}\n"
    taken = Maker().take(f"admin: {{key: {ADMIN_KEY}}}\n{hooks}", tmp_path)
    assert (taken.admin_key, taken.webhook_secret) == (ADMIN_KEY, HOOK)
    printed = repr(taken)
    assert not [secret for secret in (ADMIN_KEY, HOOK, PIAPI_KEY) if secret in printed]
