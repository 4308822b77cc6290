"""The receivers that are told how jobs end: https or this machine, each with a secret that is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, changes, load
from gateway.core.errors import ConfigError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def read(folder: Path, webhooks: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(f"webhooks: {webhooks}\n", encoding="utf-8")
    return load(path, {"PIAPI_API_KEY": "first-upstream-key", "HOOK": SECRET})


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/jobs?token=abc",
        "https://hooks.example.com:8443/jobs/",
        "http://127.0.0.1:9000/jobs",
        "http://localhost/jobs",
        "http://hooks.localhost:1/",
        "http://[::1]:9000/x",
    ],
)
def test_an_address_is_kept_as_it_is_written(tmp_path: Path, url: str) -> None:
    config = read(tmp_path, f'{{shop: {{url: "{url}", secret: "${{HOOK}}"}}}}')
    assert config.webhooks["shop"].url == url
    assert config.webhooks["shop"].secret == SECRET
    assert SECRET in config.secrets
    assert SECRET not in repr(config)
    assert url not in repr(config)


@pytest.mark.parametrize(
    ("webhook", "place"),
    [
        ('{url: "http://hooks.example.com/jobs", secret: s}', "1:24: webhooks.shop.url: expected https"),
        ('{url: "http://10.0.0.1/jobs", secret: s}', "webhooks.shop.url: expected https"),
        ('{url: "http://localhost.example.com/jobs", secret: s}', "webhooks.shop.url: expected https"),
        ('{url: "ftp://127.0.0.1/jobs", secret: s}', "webhooks.shop.url"),
        ('{url: "https://me:pass@example.com/", secret: s}', "webhooks.shop.url"),
        ('{url: "", secret: s}', "webhooks.shop.url"),
        ("{secret: s}", "webhooks.shop.url"),
        ('{url: "https://a.example/"}', "webhooks.shop.secret"),
        ('{url: "https://a.example/", secret: ""}', "webhooks.shop.secret: a secret is needed"),
        ('{url: "https://a.example/", secret: "whsec_?"}', "webhooks.shop.secret: what follows whsec_"),
        ('{url: "https://a.example/", secret: s, event: x}', "webhooks.shop.event"),
    ],
)
def test_what_cannot_be_one_is_told_with_its_place(tmp_path: Path, webhook: str, place: str) -> None:
    with pytest.raises(ConfigError, match="webhooks") as caught:
        read(tmp_path, f"{{shop: {webhook}}}")
    assert place in str(caught.value)


def test_a_name_is_one_that_a_header_can_carry(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="webhooks"):
        read(tmp_path, '{"sh op": {url: "https://a.example/", secret: s}}')


def test_a_reload_says_what_changed_and_no_secret(tmp_path: Path) -> None:
    old = read(
        tmp_path, '{shop: {url: "https://a.example/SECRET", secret: one}, ops: {url: "https://b.example/", secret: x}}'
    )
    new = read(
        tmp_path, '{shop: {url: "https://a.example/OTHER", secret: two}, new: {url: "https://b.example/", secret: x}}'
    )
    assert {change.text for change in changes(old, new)} == {
        "webhooks.ops: removed",
        "webhooks.new: added",
        "webhooks.shop: url changed; secret changed",
    }
