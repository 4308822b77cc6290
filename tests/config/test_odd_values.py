"""Keys and addresses that a shell, a copied line or an example has spoiled."""

from __future__ import annotations

import pytest

REAL = "sk-proj-4f9a8b7c6d5e4f3a2b1c"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f'"{REAL}"', "has quotes around it"),
        (f"'{REAL}'", "has quotes around it"),
        (f"`{REAL}`", "has quotes around it"),
        (f"“{REAL}”", "has quotes around it"),
        (f'"{REAL}"\n', "has quotes around it"),
        (f"Bearer {REAL}", "begins like a header"),
        (f"bearer\t{REAL}", "begins like a header"),
        (f"Authorization: Bearer {REAL}", "begins like a header"),
        (f"X-API-Key: {REAL}", "begins like a header"),
        ("$PIAPI_API_KEY", "looks like a variable"),
        ("$(PIAPI_API_KEY)", "looks like a variable"),
        ("$env:PIAPI_API_KEY", "looks like a variable"),
        ("%PIAPI_API_KEY%", "looks like a variable"),
        ("{{PIAPI_API_KEY}}", "looks like a variable"),
        ("{{ secrets.KEY }}", "looks like a variable"),
        ("PIAPI_API_KEY", "is the name of a variable"),
        ("OPENAI_API_KEY_2", "is the name of a variable"),
        ("sk-...", "is a placeholder"),
        ("sk-proj-…", "is a placeholder"),
        ("your-key", "is a placeholder"),
        ("YOUR_PIAPI_API_KEY", "is a placeholder"),
        ("your_api_key_here", "is a placeholder"),
        ("sk-your-key", "is a placeholder"),
        ("<your-key>", "is a placeholder"),
        ("<KEY>", "is a placeholder"),
        ("paste-your-key-here", "is a placeholder"),
        (f"{REAL[:8]} {REAL[8:]}", "expected a key: visible ASCII characters without blanks"),
        (f"{REAL}\n{REAL}", "expected a key: visible ASCII characters without blanks"),
    ],
)
def test_what_is_certainly_wrong_is_an_error_with_its_place_and_its_variable(faults, value, words):
    [of_environment] = faults("upstreams: {piapi: {keys: ['${MY_KEY}']}}", {"MY_KEY": value})
    assert of_environment.startswith("config.yaml:1:28: upstreams.piapi.keys[0].value: ")
    assert words in of_environment
    assert of_environment.endswith("(it comes from MY_KEY)")
    [of_catalogue] = faults("", {"PIAPI_API_KEY": value})
    assert words in of_catalogue
    assert of_catalogue.endswith("(it comes from PIAPI_API_KEY)")
    [of_virtual] = faults("keys: [{name: alice, key: '${MY_KEY}'}]", {"MY_KEY": value})
    assert words in of_virtual
    assert "keys[0].key" in of_virtual
    for problem in (of_environment, of_catalogue, of_virtual):
        assert REAL not in problem


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"{REAL}\n", "has a newline around it"),
        (f"{REAL}\r\n", "has a newline around it"),
        (f"\n{REAL}", "has a newline around it"),
        (f" {REAL}", "has blanks around it"),
        (f"{REAL}\t", "has blanks around it"),
        (" \n", "holds nothing but blanks"),
        ("$ecret-looking", ""),
        ("$piapi_key", "looks like a variable"),
        (f'"{REAL}', "begins or ends with a quote"),
        ("sk-xxxxxxxx", "looks like a placeholder"),
        ("changeme", "looks like a placeholder"),
        (REAL, ""),
        ("piapi-key-one", ""),
        ("test", ""),
        ("EMPTY", ""),
    ],
)
def test_what_is_probably_wrong_is_a_warning(load_text, value, words):
    config = load_text("upstreams: {piapi: {keys: ['${MY_KEY}', spare-key]}}", {"MY_KEY": value})
    found = [warning for warning in config.warnings if "piapi.keys[0]" in warning]
    assert len(found) == bool(words)
    for warning in found:
        assert words in warning
        assert warning.startswith("config.yaml:1:28: upstreams.piapi.keys[0]: ")
        assert warning.endswith("(it comes from MY_KEY)")
        assert REAL not in warning


def test_the_same_key_twice_names_both_places(faults, load_text):
    [twice] = faults("", {"PIAPI_API_KEY": REAL, "PIAPI_API_KEY_2": REAL})
    assert twice.endswith("this key is in the pool twice; give each one once (it comes from PIAPI_API_KEY_2)")
    [elsewhere] = [
        one for one in load_text("", {"PIAPI_API_KEY": REAL, "BACKUP_API_KEY": REAL}).warnings if "also a key" in one
    ]
    assert elsewhere.startswith("upstreams.backup: its key 'key-1' is also a key of the upstream 'piapi'")
    [virtual] = faults(f"keys: [{{name: alice, key: {REAL}}}]", {"PIAPI_API_KEY": REAL})
    assert "keys[0].key: this is a key of the upstream 'piapi'" in virtual
    assert REAL not in twice + elsewhere + virtual


@pytest.mark.parametrize("dialect", ["piapi", "openai"])
@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_an_address_may_end_with_v1(load_text, dialect, end):
    text = f"upstreams: {{own: {{dialect: {dialect}, endpoints: [{{url: 'https://a.example{end}'}}], keys: [{REAL}]}}}}"
    [endpoint] = load_text(text, {}).upstreams["own"].endpoints
    assert (endpoint.url, endpoint.base_path) == ("https://a.example", "")


def test_with_and_without_v1_are_one_address(faults):
    [found] = faults(
        "upstreams: {piapi: {endpoints: [{url: 'https://api.piapi.ai'}, {url: 'https://api.piapi.ai/v1'}]}}", {}
    )
    assert "this endpoint is listed twice" in found


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://a.example/v1/chat/completions", "ends with a route"),
        ("https://a.example/v1/chat/completions/", "ends with a route"),
        ("https://a.example/v1/images/generations", "ends with a route"),
        ("https://a.example/chat/completions", "ends with a route"),
        ("https://a.example/v1/models", "ends with a route"),
        ("https://a.example/api/v1/task", "ends with a route"),
        ('"https://a.example"', "has quotes around it"),
        ("'https://a.example/v1'", "has quotes around it"),
        ("https://a.example\n", "has blanks or a newline around it"),
        (" https://a.example", "has blanks or a newline around it"),
        ("$BACKUP_BASE_URL", "looks like a variable"),
        ("<your-url>", "is a placeholder"),
        ("a.example/v1", "expected an http or https URL"),
    ],
)
def test_an_address_that_looks_wrong_names_its_variable(faults, address, words):
    [found] = faults("upstreams: {backup: {endpoints: [{url: '${MY_URL}'}]}}", {"MY_URL": address})
    assert words in found
    assert found.startswith("config.yaml:1:40: upstreams.backup.endpoints[0].url: ")
    assert found.endswith("(it comes from MY_URL)")


def test_a_path_that_is_no_route_stays(load_text):
    text = "upstreams: {backup: {endpoints: [{url: 'https://a.example/gateway/models-eu'}]}}"
    assert load_text(text, {}).upstreams["backup"].endpoints[0].base_path == "/gateway/models-eu"
