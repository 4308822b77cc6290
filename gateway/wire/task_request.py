"""The fields a client may send to PiAPI's own task API, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import ClientError, invalid_request

MOST_NAME = 256
"""Characters of a model's or task type's name; names are kept and shown."""

MOST_IN_A_BATCH = 4
"""Images of one Flux task (PiAPI's page Text to Image)."""

MOST_OF_A_TASK = 64
"""Images of one task of another model; what the model takes is PiAPI's to say."""

_FIELDS = frozenset({"model", "task_type", "input", "config"})
_CONFIG = frozenset({"webhook_config", "service_mode"})


def checked_task(body: dict[str, Any]) -> dict[str, Any]:
    """The body that may go to PiAPI. Raises ClientError 400 naming the field.

    A callback is not passed on: PiAPI would call any address a client names, on behalf of the gateway's upstream key.
    """
    for name in body:
        if name not in _FIELDS:
            raise _unknown(name)
    for name in ("model", "task_type"):
        value = body.get(name)
        if type(value) is not str or not value or len(value) > MOST_NAME or not value.isprintable() or " " in value:
            raise _wrong(name, f"it must be a name of at most {MOST_NAME} characters, without blanks")
    if type(body.get("input")) is not dict:
        raise _wrong("input", "it must be an object")
    config = body.get("config")
    if config is None:
        return {name: value for name, value in body.items() if name != "config"}
    return {**body, "config": _checked_config(config)}


def _checked_config(config: object) -> dict[str, Any]:
    """The config without its webhook, which leaves ``service_mode`` if it is given."""
    if not isinstance(config, dict):
        raise _wrong("config", "it must be an object")
    for name in config:
        if name not in _CONFIG:
            raise _unknown(f"config.{name}")
    webhook = config.get("webhook_config")
    if webhook is not None and (type(webhook) is not dict or webhook.get("endpoint")):
        raise _wrong("config.webhook_config", "webhooks are not passed on: ask GET /api/v1/task/{id} instead")
    return {name: value for name, value in config.items() if name != "webhook_config"}


def images_of_task(given: Mapping[str, Any], field: str = "batch_size", most: int = MOST_IN_A_BATCH) -> int:
    """How many images a task is to make, by its ``field``; each is paid for. Raises ClientError 400."""
    batch = given.get(field, 1)
    if type(batch) is not int or not 1 <= batch <= most:
        raise _wrong(f"input.{field}", f"it must be a whole number from 1 to {most}")
    return batch


def _unknown(name: str) -> ClientError:
    return invalid_request(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")


def _wrong(name: str, rule: str) -> ClientError:
    return invalid_request(f"Invalid value for '{name}': {rule}.", param=name, code="invalid_value")
