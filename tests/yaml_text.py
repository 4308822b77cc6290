"""YAML as tests write and read it, by libyaml where there is one: a test of a gateway does so several times."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read_yaml(text: str) -> Any:
    """Plain data; None for an empty text."""
    return yaml.load(text, Loader=_LOADER)


def write_yaml(document: Any) -> str:
    """What ``read_yaml`` makes the same data of."""
    text: str = yaml.dump(document, Dumper=_DUMPER)
    return text
