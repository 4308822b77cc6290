"""What one configuration has changed against another."""

from __future__ import annotations

import pytest

from gateway.config import changes

SECRETS = {"A": "first-secret-0123456789", "B": "second-secret-0123456789"}
PIAPI = "upstreams: {piapi: {keys: ['${A}']}}"


@pytest.mark.parametrize(
    ("old", "new", "told", "weaker"),
    [
        ("", "", [], False),
        ("auth: required", "", ["auth: required -> auto"], True),
        ("", "auth: required", ["auth: auto -> required"], False),
        ("", "drain: 2m", ["drain: 30s -> 120s"], False),
        ("", "allow_unpriced: true", ["allow_unpriced: false -> true"], True),
        ("", "trusted_proxies: [10.0.0.0/8]", ["trusted_proxies: [] -> [10.0.0.0/8]"], True),
        ("cors: {origins: ['https://a.example']}", "", ["cors.origins: [https://a.example] -> []"], False),
        ("", "admin: {key: '${A}'}", ["admin.key: set"], False),
        ("admin: {key: '${A}'}", "admin: {key: '${B}'}", ["admin.key: changed"], False),
        ("teams: {a: {budget: 5/day}}", "teams: {a: {budget: 9/day}}", ["teams.a: budget 5/day -> 9/day"], False),
        ("teams: {a: {budget: 5/day}}", "teams: {a: {}}", ["teams.a: budget 5/day -> none"], True),
        ("teams: {a: {budget: 5/day}}", "", ["teams.a: removed (budget 5/day)"], True),
        ("teams: {a: {}}", "teams: {b: {}}", ["teams.a: removed", "teams.b: added"], False),
        ("keys: [{name: x, key: '${A}', rpm: 5}]", "keys: [{name: x, key: '${A}'}]", ["keys.x: rpm 5 -> none"], True),
        ("keys: [{name: x, key: '${A}'}]", "keys: [{name: x, key: '${B}'}]", ["keys.x: another key"], False),
        (
            "keys: [{name: x, key: '${A}', models: [gpt-4o]}]",
            "keys: [{name: x, key: '${A}', budget: 1/day}]",
            ["keys.x: models [gpt-4o] -> [*]; budget none -> 1/day"],
            True,
        ),
        (
            "keys: [{name: x, key: '${A}', models: [{'gpt-4o*': 5/day}]}]",
            "keys: [{name: x, key: '${A}', models: ['gpt-4o*']}]",
            ["keys.x: budget of gpt-4o* 5/day -> none"],
            True,
        ),
        (PIAPI, "upstreams: {piapi: {keys: ['${B}']}}", ["upstreams.piapi: key key-1 changed"], False),
        (
            PIAPI,
            "upstreams: {piapi: {keys: ['${A}'], endpoints: [{url: 'https://api.piapi.ai'}], timeouts: {head: 9s}}}",
            ["upstreams.piapi: endpoint https://api.piapi.ai wall 120s -> none; "
             "endpoint https://proxy.piapi.ai removed; timeouts changed"],
            False,
        ),
        (
            "models: {m: {targets: [{upstream: piapi, price: {input: 1, output: 2}}]}}",
            "models: {m: {targets: [{upstream: piapi, price: {input: 1.5, output: 2}}]}}",
            ["models.m: target piapi chat m price input 1 -> 1.5"],
            False,
        ),
        (
            "models: {m: {targets: [{upstream: piapi, price: {input: 1, output: 2}}]}}",
            "models: {m: {targets: [{upstream: piapi}]}}",
            ["models.m: target piapi chat m price {input: 1, output: 2} -> none"],
            True,
        ),
        ("limits: {body: 1MiB}", "limits: {body: 2MiB}", ["limits.body: 1048576 -> 2097152"], False),
    ],
)  # fmt: skip
def test_changes_are_told_by_name(load_text, old, new, told, weaker):
    before, after = load_text(old, SECRETS), load_text(new, SECRETS)
    found = changes(before, after)
    assert [change.text for change in found] == told
    assert any(change.weaker for change in found) == weaker
    assert not [change.text for change in found for secret in SECRETS.values() if secret in change.text]
