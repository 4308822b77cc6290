"""Which Python this is and how it was built, as far as it says so: what makes it quicker, how far the compiler went."""

from __future__ import annotations

import platform
import re
import sysconfig
from collections.abc import Mapping


def describe(version: str, variables: Mapping[str, object]) -> str:
    """``variables``: of sysconfig."""

    def said(*names: str) -> str:
        return " ".join(str(variables.get(name) or "") for name in names)

    configured = said("CONFIG_ARGS")
    flags = said("CFLAGS", "PY_CORE_CFLAGS", "PY_CFLAGS", "PY_CFLAGS_NODIST", "PY_LDFLAGS_NODIST", "PY_CORE_LDFLAGS")
    # Distributions optimise in ways of their own, and take the flags out of what their Python says of itself.
    packaged = variables.get("installed_base") == "/usr"
    level = re.findall(r"-O\w", said("PY_CORE_CFLAGS") or flags)
    return ", ".join(
        [
            version,
            _stated("profile-guided", "--enable-optimizations" in configured or "-fprofile-use" in flags, packaged),
            _stated("link-time", "--with-lto" in configured or "-flto" in flags, packaged),
            *([level[-1]] if level else []),
        ]
    )


def _stated(kind: str, there: bool, packaged: bool) -> str:
    if not there and packaged:
        return f"{kind} optimisation not stated by this build"
    return f"{'with' if there else 'without'} {kind} optimisation"


if __name__ == "__main__":
    print(describe(platform.python_version(), sysconfig.get_config_vars()))
