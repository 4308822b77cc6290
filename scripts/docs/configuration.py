"""docs/configuration.md: every key of the configuration file, from the schema."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from gateway.config import NEEDS_RESTART, usd
from gateway.config.addresses import HostPort
from scripts.docs.markdown import anchor, code, page, table
from scripts.docs.schema_keys import Key, SectionFacts, sections

_SIZES = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("B", 1))
_TIMES = (("h", 3600, 3600.0), ("m", 60, 120.0), ("s", 1, 0.0))

ENVIRONMENT = {
    "PIAPI_API_KEY": "The first key of the built-in pool of `piapi`.",
    **{f"PIAPI_API_KEY_{number}": "Another key of that pool." for number in range(2, 9)},
    "BACKUP_API_KEY": "The key of the built-in `backup`. Without it that upstream is off.",
    "BACKUP_BASE_URL": "Where the built-in `backup` is; `https://api.openai.com` where it is not set.",
    "GATEWAY_ADMIN_KEY": "The admin key, where `admin.key` is left out.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "The collector of traces, where `telemetry.otlp` is empty. OpenTelemetry's other "
    "variables count as well: [tracing](tracing.md#environment).",
    "OTEL_SDK_DISABLED": "`true`: nothing is traced, whatever else is said.",
    "GATEWAY_KEY_PEPPER": "The secret, in hexadecimal, that virtual keys are hashed with. Not set: a file beside the "
    "store holds one that was drawn at random.",
}
"""Every environment variable that is read without the file naming it, and what it is for."""

_INTRODUCTION = """\
The gateway runs without any configuration file: models, prices and hosts are built in, and the keys come from the
environment. A file says only what shall be different. `serve` and the other commands read `./config.yaml` where
there is one, or the file that `--config` names; the [`config.yaml`](../config.yaml) of this project shows every
setting with its default.

```sh
piapi-gateway check      # every error at once, each with its line and column
```

- A key that the gateway does not know is an error. A key without a value (`team:`) counts as left out.
- `${NAME}` inside a text is filled from the environment, `${NAME:-default}` also where the variable is unset or
  empty; `$${` is a literal `${`.
- A **duration** has its unit: `500ms`, `30s`, `2m`, `1h`, `30d`. A **size** too: `64KiB`, `20MiB`, `1GiB`; `KB`, `MB`
  and `GB` count in thousands. An **amount** is in US dollars, with at most nine digits after the point. A **budget**
  is `5/day`, `20/week`, `50/month` or `200/total`; weeks begin on Monday.
- A **name** has 1 to 64 letters, digits, dots, dashes or underscores. A **secret** has at most 512 visible ASCII
  characters.
- In a section's path, `NAME` stands for a name you choose and `[]` for an entry of a list.
- *Restart* marks what a reload (SIGHUP, or `POST /admin/v1/reload`) cannot change: the rest of the file comes into
  force, and the answer names what did not.
- Only what a command uses has to be set: `usage`, `keys`, `ledger`, `backup`, `models` and `status` ask for no
  upstream's key. `serve` and `check` need everything."""

_ENVIRONMENT = """\
Besides the variables that the file itself names, these are read:"""


def configuration_page() -> str:
    """The whole page."""
    found = list(sections())
    listed = " ·\n".join(f"[{code(one.path)}](#{anchor(one.path)})" for one in found if one.path)
    parts = [_INTRODUCTION, f"The sections: [the top of the file](#the-top-of-the-file) ·\n{listed}"]
    for one in found:
        parts += [f"## {code(one.path)}" if one.path else "## The top of the file", one.meaning, _keys(one)]
    variables = table(("variable", "what for"), ((code(name), text) for name, text in ENVIRONMENT.items()))
    return page("Configuration", *parts, "## Environment variables", _ENVIRONMENT, variables)


def _keys(section: SectionFacts) -> str:
    rows = [
        (code(key.name), key.kind, default_text(key), key.unit or "–", _meaning(section, key), _example(key))
        for key in section.keys
    ]
    return table(("key", "type", "default", "unit", "meaning", "example"), rows)


def _meaning(section: SectionFacts, key: Key) -> str:
    if section.full(key) in NEEDS_RESTART or section.path in NEEDS_RESTART:
        return f"{key.meaning} *Restart.*"
    return key.meaning


def _example(key: Key) -> str:
    if key.section is not None:
        return f"[its keys](#{anchor(key.section)})"
    return code(key.example or "")


def default_text(key: Key) -> str:
    """A key's default as the file would have it, as code; what it is called where there is none to write."""
    if key.required:
        return "required"
    if key.section is not None:
        return "none" if key.default == {} else "–"
    return "–" if key.default is None else code(written(key.default, key.kind))


def written(value: Any, kind: str) -> str:
    """A value of the gateway → the YAML that stands for it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' if item.startswith("*") else str(item) for item in value) + "]"
    if value == {}:
        return "{}"
    if kind.startswith("duration"):
        return _duration(value)
    if kind == "size":
        return next(f"{value // factor}{unit}" for unit, factor in _SIZES if value % factor == 0)
    if kind == "amount":
        return usd(value)
    if value is UTC:
        return "UTC"
    return str(value) if isinstance(value, str | int | float | HostPort) and value != "" else '""'


def _duration(seconds: float) -> str:
    if seconds % 1:
        return f"{round(seconds * 1000)}ms"
    return next(
        f"{seconds / factor:.0f}{unit}" for unit, factor, least in _TIMES if seconds % factor == 0 <= seconds - least
    )
