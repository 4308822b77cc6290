"""A configuration that everybody can read and that holds secrets itself is warned about, by the place of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config import load

LITERAL = {
    "upstreams.piapi.keys[0]": "upstreams: {piapi: {keys: [sk-literal-0123456789]}}",
    "upstreams.piapi.keys[0].value": "upstreams: {piapi: {keys: [{name: one, value: sk-literal-0123456789}]}}",
    "admin.key": "admin: {key: admin-0123456789abcdef}",
    "keys[0].key": "keys: [{name: alice, key: gw-0123456789abcdef}]",
    "webhook_secret": "webhook_secret: hook-0123456789abcdef\nimages: {public_url: 'https://gateway.example.com'}",
    "proxy": "proxy: http://user:password-0123@proxy.example.com:3128",
    "store": "store: postgresql://user:password-0123@db.example.com/books",
}


def warnings(path: Path, text: str, mode: int, environ: Mapping[str, str] | None = None) -> list[str]:
    path.write_text(text)
    path.chmod(mode)
    return [line for line in load(path, environ or {}).warnings if "every user of this machine" in line]


@pytest.mark.parametrize("place", LITERAL)
def test_every_place_of_a_literal_secret_is_named_and_no_secret(tmp_path: Path, place: str) -> None:
    path = tmp_path / "config.yaml"
    [sentence] = warnings(path, LITERAL[place], 0o644)
    assert place in sentence
    assert f"chmod o-r {path}" in sentence
    assert "0123" not in sentence
    assert warnings(path, LITERAL[place], 0o640) == warnings(path, LITERAL[place], 0o600) == []


def test_what_comes_from_the_environment_is_none(tmp_path: Path) -> None:
    text = "upstreams: {piapi: {keys: ['${PIAPI_API_KEY}']}}\nadmin: {key: '${ADMIN:-admin-0123456789abcdef}'}"
    path = tmp_path / "config.yaml"
    environ = {"PIAPI_API_KEY": "sk-of-the-environment"}
    assert warnings(path, text, 0o644, {**environ, "ADMIN": "another-0123456789"}) == []
    [sentence] = warnings(path, text, 0o644, environ)
    assert "admin.key" in sentence, "the default stands in the file"
    assert "piapi" not in sentence


def test_a_file_without_secrets_is_fine(tmp_path: Path) -> None:
    assert warnings(tmp_path / "config.yaml", "listen: 127.0.0.1:9000", 0o644) == []
