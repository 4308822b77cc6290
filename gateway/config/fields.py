"""The building blocks of the configuration's schema: kinds of values, and the base class of all sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from gateway.config import addresses, key_models, values
from gateway.config.addresses import HostPort
from gateway.core.connection_options import Proxy
from gateway.core.pricing.percents import percents
from gateway.core.types import Budget, Endpoint


@dataclass(frozen=True, slots=True)
class Read:
    """How a value is read, and how the documentation describes it.

    ``parse``: the file's value → the gateway's; raises ValueError saying what a valid value is.
    ``kind``: the type's name.
    ``unit``: the unit of the value, or the units it may be written in; empty for none.
    """

    parse: Callable[[object], Any]
    kind: str
    unit: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema for pydantic, in which ``parse`` alone decides."""
        return core_schema.no_info_plain_validator_function(self.parse)


def whole(lowest: int, highest: int | None = None, *, unit: str = "") -> Read:
    """A whole number in a range, both ends included.

    ``highest``: None for no upper bound.
    ``unit``: as in ``Read``.
    """
    limits = f"from {lowest} up" if highest is None else f"{lowest} to {highest}"
    return Read(values.whole_number(lowest, highest), f"whole number, {limits}", unit)


_DURATION_UNITS = "ms, s, m, h, d"

Text = Annotated[str, Read(values.text, "text")]
FilledText = Annotated[str, Read(values.filled_text, "text, not empty")]
Boolean = Annotated[bool, Read(values.boolean, "true or false")]
Name = Annotated[str, Read(values.name, "name")]
Secret = Annotated[str, Read(values.secret, "secret")]
AdminKey = Annotated[str, Read(values.admin_key, "secret, 16 characters or more")]
Money = Annotated[int, Read(values.money, "amount", "US dollars")]
TokenPrice = Annotated[int, Read(values.money, "amount", "US dollars per 1M tokens")]
Share = Annotated[float, Read(values.share, "number, 0 to 1", "share")]
Factor = Annotated[int, Read(values.factor, "number above 0, at most 1000", "times")]
Amount = Annotated[Budget, Read(values.budget, "budget", "US dollars a day, week, month or in total")]
Percents = Annotated[tuple[int, ...], Read(percents, "whole number, 1 to 100, or a list of them", "percent")]
KeyModels = Annotated[
    list[Any],
    Read(key_models.key_models, "list; each: model's name, a final * for any ending, or {name: budget}; or a mapping"),
]
Number = Annotated[int | float, Read(values.number, "number")]
Positive = Annotated[float, Read(values.positive_number, "number above 0")]
FieldDefault = Annotated[str | int | float, Read(values.field_default, "text, number, true or false")]
FieldName = Annotated[str, Read(values.field_name, "field of a request")]
FieldNames = Annotated[str | tuple[str, ...], Read(values.field_names, "field of a request; for drop a list of them")]
Day = Annotated[date, Read(values.day, "day, YYYY-MM-DD")]
Duration = Annotated[float, Read(values.duration, "duration", _DURATION_UNITS)]
PositiveDuration = Annotated[float, Read(values.positive_duration, "duration above 0", _DURATION_UNITS)]
Size = Annotated[int, Read(values.size, "size", "B, KiB, MiB, GiB, TiB")]
ModelPattern = Annotated[str, Read(values.model_pattern, "model's name, a final * for any ending")]
Zone = Annotated[tzinfo, Read(values.time_zone, "IANA time zone")]
Listen = Annotated[HostPort, Read(addresses.host_port, "HOST:PORT")]
EndpointUrl = Annotated[Endpoint, Read(addresses.endpoint, "http or https URL")]
Link = Annotated[str, Read(addresses.link, "http or https URL, or empty")]
ReceiverUrl = Annotated[str, Read(addresses.receiver, "https URL, or http on loopback")]
HostPattern = Annotated[str, Read(addresses.host_pattern, "host name, *. before it for every host below; or *")]
HostName = Annotated[str, Read(addresses.host_name, "host name or address")]
Origin = Annotated[str, Read(addresses.origin, "origin, SCHEME://HOST[:PORT]")]
ProxyUrl = Annotated[Proxy | Literal["env", "none"], Read(addresses.proxy, "http URL of a proxy, env or none")]
Network = Annotated[str, Read(addresses.network, "address or network, such as 10.0.0.0/8")]
Store = Annotated[str, Read(addresses.store, "store URL")]
SharedState = Annotated[
    str,
    Read(addresses.shared_state, "shared state URL"),
    Field(
        description="Where limits and cooldowns are kept: in this process, or, for several gateways, in Valkey or "
        "Redis (6.2): `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://`, `redis+cluster://`; see "
        "[shared state](shared-state.md).",
        examples=["redis://valkey.internal:6379/0"],
    ),
]


@dataclass(frozen=True, slots=True)
class Unknown:
    """The stand-in for the value of an unknown key, so that the error can name the known ones.

    ``known``: the section's keys.
    """

    known: tuple[str, ...]


class Section(BaseModel):
    """The base class of all sections.

    docs/configuration.md is written from a section's docstring and its fields' descriptions and examples (YAML, as in
    the file); scripts/docs refuses a key that lacks one.
    """

    # Deferred: a section is part of the document's validator, and needs none of its own.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )

    def __repr__(self) -> str:
        """Without the values: some are secrets."""
        return f"<{type(self).__name__}>"

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, data: Any) -> Any:
        data = cls.unfold(data)
        if not isinstance(data, dict):
            return data
        known = tuple(cls.model_fields)
        return {
            key: value if key in known else Unknown(known)
            for key, value in data.items()
            if value is not None or key not in known
        }

    @classmethod
    def unfold(cls, data: Any) -> Any:
        """A section's short spelling → the long one."""
        return data


def numbered(value: Any) -> Any:
    """A list → a mapping by index: an error still says ``keys[1]``, and one entry can be left out without a shift."""
    if isinstance(value, dict) and all(isinstance(index, int) for index in value):
        return value  # numbered already
    if not isinstance(value, list):
        raise ValueError("expected a list, such as [{name: alice, key: …}]")
    return dict(enumerate(value))
