"""A gateway in this process, outside of pytest."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.e2e.harness import ROLES, Rig


@asynccontextmanager
async def running_rig(overrides: str = "") -> AsyncIterator[Rig]:
    """``overrides``: YAML, merged over the configuration of the end-to-end tests."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with Sandbox(roles=ROLES) as sandbox:
            rig = await Rig.start(sandbox, Path(folder), overrides)
            try:
                yield rig
            finally:
                await rig.close()
