"""The shape of the file's sections on virtual keys, teams, and the alerts about their budgets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.config.fields import (
    Amount,
    FilledText,
    KeyModels,
    Link,
    Name,
    Percents,
    Secret,
    Section,
    whole,
)


class TeamSection(Section):
    """A team. Once any team is named here, a virtual key may only be of a team that is named."""

    budget: Amount | None = Field(
        default=None,
        description="What all keys of the team may spend together. Left out: no limit.",
        examples=["500/month"],
    )
    alert: Percents | None = Field(
        default=None,
        description="The percentages of the budget at which it is told, and nothing refused. Left out: 80 and 100.",
        examples=["80"],
    )


class AlertsSection(Section):
    """Where a budget is told of which 80 % or 100 % is used up (or what `alert` says), or that refuses a request;
    besides the log and the metrics.
    """

    webhook: Link = Field(
        default="",
        description="The address that gets a POST for each alert; empty: none is sent.",
        examples=["https://hooks.example.com/budget"],
    )
    secret: Secret = Field(
        default="",
        description="Signs the messages (Standard Webhooks); needed with a webhook.",
        examples=["${HOOK_SECRET}"],
    )


class KeySection(Section):
    """A virtual key kept in the file. Others live in the store and are made with `piapi-gateway keys create`."""

    name: Name = Field(
        description="What logs, metrics and the ledger call the key. `anonymous` and `other` are taken.",
        examples=["alice"],
    )
    key: Secret = Field(description="The key itself, as clients send it.", examples=["${ALICE_KEY}"])
    team: FilledText | None = Field(
        default=None, description="The team whose budget the key shares. Left out: no team.", examples=["growth"]
    )
    budget: Amount | None = Field(
        default=None, description="What the key may spend. Left out: no limit of its own.", examples=["50/month"]
    )
    rpm: Annotated[int, whole(1, unit="requests a minute")] | None = Field(
        default=None, description="The most requests in any 60 seconds. Left out: no limit.", examples=["60"]
    )
    tpm: Annotated[int, whole(1, unit="tokens a minute")] | None = Field(
        default=None,
        description="The most tokens, in and out, in any 60 seconds. Left out: no limit.",
        examples=["200000"],
    )
    parallel: Annotated[int, whole(1, unit="requests")] | None = Field(
        default=None, description="The most requests at once. Left out: no limit.", examples=["8"]
    )
    models: KeyModels = Field(
        default=["*"],
        description="The models the key may use. An entry of the list may carry a budget for its models, as "
        '`{"gpt-4o*": 5/day}`. A mapping of such budgets in place of the list forbids no other model.',
        examples=['["gpt-4o*", "flux-*"]'],
    )
    alert: Percents | None = Field(
        default=None,
        description="The percentages of the key's budgets at which each is told, and nothing refused. Left out: 80 and "
        "100.",
        examples=["[50, 80]"],
    )
