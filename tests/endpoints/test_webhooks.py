"""PiAPI's webhook wakes a wait by its token; without both token and secret a sender learns nothing."""

from __future__ import annotations

import pytest

from gateway.core.errors import ClientError
from gateway.endpoints.webhooks import webhook_routes
from gateway.runtime.wakeups import Wakeups
from tests.in_force import Settings

from .gateway import ask, handlers
from .gateway import sent as request_with


async def woken(secret: str, sent: str | None, token: str = "token") -> bool:
    """Whether a message with this secret, for this token, wakes the one that waits under ``token``."""
    wakeups = Wakeups()
    [route] = handlers(webhook_routes(Settings(webhook_secret=secret), wakeups.waits, wakeups.give))
    headers = [] if sent is None else [(b"x-webhook-secret", sent.encode())]
    with wakeups.register("token"):
        try:
            answer = await ask(route, request_with(headers=headers, body=b'{"status":"completed"}', token=token))
            told = (answer.status_code, answer.body)
        except ClientError as refused:
            told = (refused.status, refused.code)
        found = await wakeups.wait("token", 0)
    assert told == ((200, b"{}") if found else (404, "unknown_url"))
    return found


async def test_a_message_with_the_secret_wakes_the_wait() -> None:
    assert await woken("s3cret", "s3cret")


@pytest.mark.parametrize(
    ("secret", "sent", "token"),
    [
        ("s3cret", "guess", "token"),
        ("s3cret", None, "token"),
        ("s3cret", "s3cret", "another"),
        ("", "", "token"),  # webhooks are off: nothing is a secret
        ("", None, "token"),
    ],
    ids=["wrong secret", "no secret", "unknown token", "off", "off, nothing sent"],
)
async def test_every_other_message_finds_nothing_there(secret: str, sent: str | None, token: str) -> None:
    assert not await woken(secret, sent, token)


async def test_a_wait_that_ended_while_the_message_was_read_is_not_there() -> None:
    [route] = handlers(webhook_routes(Settings(webhook_secret="s3cret"), lambda token: True, lambda token: False))
    with pytest.raises(ClientError):
        await ask(route, request_with(headers=[(b"x-webhook-secret", b"s3cret")], token="token"))
