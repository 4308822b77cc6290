"""What every route that buys something asks first: whose key it is, if it still holds, which model it may use."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import GatewayError, LimitError
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import VirtualKey
from gateway.endpoints.admission import RECHECK_AFTER, is_sdk_retry
from tests.exchange.scripted import now, play
from tests.exchange.stage import BACKUP, PIAPI, Stage
from tests.heads import request_of

from .gateway import Keys, admission, sent


class TestTheKey:
    def test_that_is_not_known_is_refused(self) -> None:
        async def story() -> None:
            door, _ = admission(Stage())
            assert door.authenticate(sent("alice")).name == "alice"
            with pytest.raises(GatewayError) as refused:
                door.authenticate(sent("mallory"))
            assert refused.value.status == 401

        play(story)

    @pytest.mark.parametrize(("seconds", "refused"), [(RECHECK_AFTER / 2, False), (RECHECK_AFTER, True), (30, True)])
    def test_is_looked_at_again_if_reading_the_request_took_long(self, seconds: float, refused: bool) -> None:
        """It may have been revoked meanwhile."""

        async def story() -> None:
            stage = Stage()
            door, keys = admission(stage)
            request = sent()
            request.began = now()
            key = door.authenticate(request)
            keys.keys.clear()
            await asyncio.sleep(seconds)
            if refused:
                with pytest.raises(GatewayError) as error:
                    door.recheck(request, key)
                assert error.value.status == 401
            else:
                assert door.recheck(request, key) is key

        play(story)

    def test_has_its_new_limits_after_the_second_look(self) -> None:
        async def story() -> None:
            stage = Stage()
            door, keys = admission(stage)
            request = sent()
            request.began = now()
            key = door.authenticate(request)
            keys.keys["alice"] = VirtualKey("alice", rpm=1)
            await asyncio.sleep(1)
            assert door.recheck(request, key).rpm == 1

        play(story)


class TestTheModel:
    @pytest.mark.parametrize(("models", "status"), [(("*",), 200), (("gpt-4*",), 200), (("flux",), 403), ((), 403)])
    def test_must_be_one_that_the_key_may_use(self, models: tuple[str, ...], status: int) -> None:
        async def story() -> None:
            door, _ = admission(Stage())
            key = VirtualKey("alice", models=models)
            if status == 200:
                assert door.route("gpt-4o", key).model == "gpt-4o"
            else:
                with pytest.raises(GatewayError) as refused:
                    door.route("gpt-4o", key)
                assert (refused.value.status, refused.value.code) == (status, "model_not_allowed")

        play(story)

    def test_that_no_route_has_is_not_there_for_any_key(self) -> None:
        async def story() -> None:
            door, _ = admission(Stage())
            for models in (("*",), ("flux",)):
                with pytest.raises(GatewayError) as refused:
                    door.route("gpt-5000", VirtualKey("alice", models=models))
                assert (refused.value.status, refused.value.code) == (404, "model_not_found")

        play(story)

    def test_that_no_route_has_takes_the_default_route_where_the_endpoint_lets_it(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.set(routes=RouteTable([], default_route=(PIAPI, BACKUP)))
            door, _ = admission(stage)
            route = door.route("gpt-5000", VirtualKey("alice", models=("gpt-5*",)), unlisted="chat")
            assert [(one.upstream, one.model) for one in route.targets] == [(PIAPI, "gpt-5000"), (BACKUP, "gpt-5000")]
            for models, unlisted, told in (
                (("*",), None, (404, "model_not_found")),
                (("flux",), "chat", (403, "model_not_allowed")),
            ):
                with pytest.raises(GatewayError) as refused:
                    door.route("gpt-5000", VirtualKey("alice", models=models), unlisted=unlisted)  # type: ignore[arg-type]
                assert (refused.value.status, refused.value.code) == told

        play(story)


class TestUnderTheKeysLimits:
    def test_a_request_takes_a_place_and_gives_it_back_however_it_ends(self) -> None:
        async def story() -> None:
            key = VirtualKey("alice", parallel=1)
            door, _ = admission(Stage(key=key), Keys(key))
            with pytest.raises(KeyError):
                async with door.limited(key):
                    with pytest.raises(LimitError):
                        async with door.limited(key):
                            raise AssertionError("the only place was taken")
                    raise KeyError
            async with door.limited(key):
                pass

        play(story)

    def test_a_refusal_names_the_limit(self) -> None:
        async def story() -> None:
            key = VirtualKey("alice", rpm=1)
            door, _ = admission(Stage(key=key), Keys(key))
            async with door.limited(key):
                pass
            with pytest.raises(LimitError, match="requests per minute"):
                async with door.limited(key):
                    raise AssertionError("the minute's only request was made")

        play(story)


@pytest.mark.parametrize(
    ("value", "again"),
    [
        (b"0", False),
        (b"000", False),
        (b"1", True),
        (b"02", True),
        (b"9" * 5_000, True),  # more digits than Python turns into a number
        (b"0" * 5_000 + b"1", True),
        (b"0" * 5_000, False),
        (b"", False),
        (b"-1", False),
        (b"1.5", False),
        (b"\xb2", False),
        (b"one", False),
    ],
)
def test_an_sdks_count_of_retries_is_read_in_every_form(value: bytes, again: bool) -> None:
    assert is_sdk_retry(request_of([(b"host", b"a"), (b"x-stainless-retry-count", value)])) is again


def test_a_client_that_counts_nothing_does_not_retry() -> None:
    assert not is_sdk_retry(request_of([(b"host", b"a")]))
