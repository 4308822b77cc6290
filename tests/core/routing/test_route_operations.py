"""Which targets of a model serve a kind of request, and what is said where none does."""

from __future__ import annotations

import pytest

from gateway.core.errors import ClientError
from gateway.core.routing.route_operations import CHATS, PATHS, no_target, serving
from gateway.core.types import OperationName, Price, Route, Target, Upstream
from gateway.wire.relay_routes import RELAY_ROUTES

UPSTREAM = Upstream("backup", "openai", (), ())


def route(*operations: OperationName) -> Route:
    return Route("m", tuple(Target(UPSTREAM, "m", operation, Price(input=1)) for operation in operations))


def test_a_route_whose_targets_all_serve_is_the_same() -> None:
    chats = route("chat", "images", "task")
    assert serving(chats, CHATS, "chat") is chats
    nothing = route()
    assert serving(nothing, frozenset({"speech"}), "speech") is nothing  # its upstreams have no keys


def test_other_targets_are_left_out() -> None:
    mixed = route("chat", "responses", "embeddings")
    assert [one.operation for one in serving(mixed, frozenset({"embeddings"}), "embeddings").targets] == ["embeddings"]
    assert [one.operation for one in serving(mixed, CHATS, "chat").targets] == ["chat"]


@pytest.mark.parametrize("operation", sorted(PATHS))
def test_the_line_that_would_give_it_a_target(operation: OperationName) -> None:
    with pytest.raises(ClientError) as refused:
        serving(route("task"), frozenset({operation}), operation)
    error = refused.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert PATHS[operation] in error.message
    asked = "" if operation in ("chat", "messages") else f", operation: {operation}"
    assert f"models: {{m: {{targets: [{{upstream: backup{asked}}}]}}}}" in error.message
    assert "beside those it has" in error.message
    assert "beside" not in no_target("m", operation, known=False).message
    assert "/v1/of_a_client" in no_target("m", operation, known=False, path="/v1/of_a_client").message


def test_a_clients_name_is_quoted_as_yaml_takes_it() -> None:
    assert 'models: {"a: {b}": {targets' in no_target("a: {b}", "speech", known=False).message
    assert len(no_target("x" * 5_000, "speech", known=False).message) < 500


def test_every_relayed_route_has_its_operation() -> None:
    for path, relayed in RELAY_ROUTES.items():
        assert PATHS[relayed.operation] == path
