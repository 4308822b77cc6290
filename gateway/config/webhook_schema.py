"""The shape of the file's section on webhooks: receivers that clients choose by name."""

from __future__ import annotations

from pydantic import Field

from gateway.config.fields import ReceiverUrl, Secret, Section


class WebhookSection(Section):
    """A receiver that is told how jobs end: of those whose request names it (`x-gateway-webhook: NAME`)."""

    url: ReceiverUrl = Field(
        description="The address that gets a POST; https, or http on this machine.",
        examples=["https://hooks.example.com/jobs"],
    )
    secret: Secret = Field(
        description="Signs the messages (Standard Webhooks): `whsec_` and base64, or plain text.",
        examples=["${HOOK_SECRET}"],
    )
