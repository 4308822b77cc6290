"""Hosts of images that look at who asks."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.sandbox.faults.playback import ScenarioContext, play_honestly, play_reply
from gateway.sandbox.wire.errors import error_reply
from gateway.sandbox.wire.steps import Step


def browsers_only(context: ScenarioContext) -> Iterator[Step]:
    """403 for everybody whose user agent does not begin as browsers' do; the honest answer for the others."""
    agent = next((value for name, value in context.request.headers if name == b"user-agent"), b"")
    if agent.startswith(b"Mozilla/"):
        yield from play_honestly(context)
    else:
        yield from play_reply(context, error_reply(403, message="Sandbox: this host answers browsers only."))
