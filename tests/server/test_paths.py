"""Which route a path stands for, however it is spelled, and which paths stand for none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.paths import KnownRoute, RouteIndex, shown_path

PATHS = (
    "/",
    "/v1/chat/completions",
    "/v1/images/generations",
    "/v1/models",
    "/v1/models/{model:path}",
    "/api/v1/task",
    "/api/v1/task/{id}",
    "/images/{name}",
    "/healthz",
    "/keys/{name}/rotate",
)
INDEX = RouteIndex(KnownRoute(path, {"GET": path}) for path in PATHS)

SPELLINGS = {
    "/": ["/", "//", "/v1", "/v1/", "/v1/v1", "//v1//v1//"],
    "/v1/chat/completions": [
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "//v1//chat//completions//",
        "/v1/v1/chat/completions",
        "/v1/v1/v1/chat/completions",
    ],
    "/v1/images/generations": ["/images/generations", "/images//generations/", "/v1/v1/images/generations"],
    "/v1/models": ["/models", "/models/", "/v1/models//", "/v1//models"],
    "/api/v1/task": ["/api/task", "/api//v1/v1/task/", "/v1/api/v1/task", "//api/v1/task"],
    "/healthz": ["/healthz/", "//healthz", "/v1/healthz"],
}

PARAMETERS = {
    "/v1/models/gpt-4o": ("/v1/models/{model:path}", {"model": "gpt-4o"}),
    "/models/openai/gpt-4o/": ("/v1/models/{model:path}", {"model": "openai/gpt-4o"}),
    "/v1//models//openai//gpt-4o//": ("/v1/models/{model:path}", {"model": "openai/gpt-4o"}),
    "/v1/models/openai%2Fgpt-4o": ("/v1/models/{model:path}", {"model": "openai/gpt-4o"}),
    "/v1/models/v1/models": ("/v1/models/{model:path}", {"model": "v1/models"}),
    "/v1/models/%2e%2e/x": ("/v1/models/{model:path}", {"model": "../x"}),
    "/api/v1/task/abc/": ("/api/v1/task/{id}", {"id": "abc"}),
    "/api/v1/task/v1": ("/api/v1/task/{id}", {"id": "v1"}),
    "/images//a.png": ("/images/{name}", {"name": "a.png"}),
    "/images/%E2%82%AC": ("/images/{name}", {"name": "€"}),
    "/keys/alice/rotate/": ("/keys/{name}/rotate", {"name": "alice"}),
}

NO_ROUTES = [
    "/V1/models",
    "/v1/Models",
    "/Chat/completions",
    "/chat",
    "/chat/completions/x",
    "/chat/v1/completions",
    "/v1/chat%2Fcompletions",
    "/%76%31/models",
    "/v1/%6dodels",
    "/./models",
    "/x/../models",
    "/v1/models;a=b",
    "/v1 /models",
    "/v01/models",
    "/v2/models",
    "/apis/v1/task",
    "/api",
    "/api/v1/task/a/b",
    "/api/v1/task/a%2Fb",
    "/images",
    "/v1/images/a.png",
    "/v1/images/generation",
    "//v1//keys/alice/rotate",
    "/images/a/b",
    "/images/a%2fb",
    "/keys/alice",
    "/keys//rotate",
    "/healthz%00",
    "/healthz%2F",
]


@pytest.mark.parametrize(("path", "spelling"), [(path, one) for path, all in SPELLINGS.items() for one in all])
def test_one_route_has_many_spellings(path: str, spelling: str) -> None:
    found = INDEX.find(spelling.encode())
    assert found is not None
    assert (found[0].path, found[1]) == (path, {})


@pytest.mark.parametrize("path", PARAMETERS)
def test_parameters_are_decoded_and_slashes_beside_them_are_not_theirs(path: str) -> None:
    found = INDEX.find(path.encode())
    assert found is not None
    assert (found[0].path, found[1]) == PARAMETERS[path]


@pytest.mark.parametrize("path", NO_ROUTES)
def test_nothing_else_is_a_route(path: str) -> None:
    assert INDEX.find(path.encode()) is None


@given(st.lists(st.sampled_from(["v1", "/", "//", "", "."]), max_size=5), st.sampled_from(sorted(SPELLINGS)))
def test_only_versions_and_slashes_are_overlooked(before: list[str], path: str) -> None:
    found = INDEX.find(("/" + "/".join(before) + path).encode())
    assert (found is not None and found[0].path == path) is ("." not in before)


@given(st.binary(max_size=60), st.lists(st.sampled_from(["v1", "api", "models", "images", "%2e", "%", "keys"])))
def test_any_bytes_may_be_asked_for(raw: bytes, words: list[str]) -> None:
    path = b"/" + "/".join(words).encode() + b"/" + raw
    found = INDEX.find(path)
    assert found is None or all("/" not in value for name, value in found[1].items() if name != "model")
    INDEX.nearest(path)
    assert shown_path(path).isprintable()
    assert len(shown_path(path)) <= 101


def test_two_routes_of_one_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="the same path"):
        RouteIndex([KnownRoute("/v1/models", {}), KnownRoute("/models/", {})])


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/openai/deployments/gpt-4o/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/chat/completions"),
        ("/v1/task", "/api/v1/task"),
        ("/v1/image/generation", "/v1/images/generations"),
        ("/V1/MODELS", None),
        ("/health", "/healthz"),
        ("/v1/embeddings", None),
        ("/" + "a/" * 4000, None),
    ],
)
def test_the_nearest_route_is_the_one_that_was_meant(path: str, meant: str | None) -> None:
    found = INDEX.nearest(path.encode())
    assert (None if found is None else found.path) == meant


def test_a_route_is_listed_as_clients_write_it() -> None:
    assert KnownRoute("/v1/models/{model:path}", {"GET": 1, "HEAD": 1, "DELETE": 1}).listed == [
        "DELETE /v1/models/{model}",
        "GET /v1/models/{model}",
    ]
