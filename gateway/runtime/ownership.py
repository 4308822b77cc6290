"""Whose a file is that root has made: the service that is to open it later is seldom root."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def give_to_owner_of(folder: Path, path: Path) -> None:
    """Give a file that root has just made in another user's folder to that user, whose service is to open it.

    Nothing happens to files of anybody but root, nor where it may not be done.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        owner, made = os.stat(folder), os.lstat(path)
        if owner.st_uid != 0 and made.st_uid == 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
