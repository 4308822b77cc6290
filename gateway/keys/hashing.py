"""What keys are made of: random bits for the user, and a keyed hash of them for the store.

Who steals the store without the pepper cannot even try guesses against it; who has both still faces 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.core.signing import PEPPER_VARIABLE
from gateway.runtime.disk import CAREFULLY, PRIVATELY, sync_folder, too_open

PREFIX = "gw-"
"""What every key begins with: the log's redaction, and secret scanners, know it by that."""

PEPPER_BYTES = 32
_LOST = (
    "The keys in the store cannot be checked without it. Restore it from a backup, or set "
    f"{PEPPER_VARIABLE} to its bytes in hexadecimal. If it is lost for good, revoke every key: then a new one is made."
)

_MAKE = "Make one with: openssl rand -hex 32"


def new_key() -> str:
    """A key to give away: ``gw-`` and 256 random bits. It can be shown now and never again."""
    return PREFIX + secrets.token_urlsafe(32)


class Pepper:
    """The secret that keys are hashed with. Its bytes are shown nowhere."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def digest(self, key: bytes) -> bytes:
        """HMAC-SHA256 under the pepper of the key's SHA-256; 32 bytes."""
        return self.digest_of(hashlib.sha256(key).digest())

    def digest_of(self, sha256: bytes) -> bytes:
        """``digest`` of a key whose SHA-256 is known already."""
        return hmac.digest(self._secret, sha256, "sha256")

    @property
    def mark(self) -> bytes:
        """32 bytes that tell this pepper from others and say nothing else about it."""
        return hmac.digest(self._secret, b"the mark of a pepper", "sha256")


def pepper_if_there(file: Path | None, from_environment: str) -> Pepper | None:
    """The pepper, to look something up by it; None if it cannot be had. Nothing is made, and nothing is checked."""
    try:
        if from_environment:
            return Pepper(_from_hexadecimal(from_environment))
        secret = None if file is None else _read(file)
    except StoreError:
        return None
    return None if secret is None else Pepper(secret)


def open_pepper(file: Path, from_environment: str | None, mark: bytes | None) -> Pepper:
    """The pepper of a store's keys: from the environment if it is set there, else from ``file``, made if need be.

    ``file``: where it lies. ``from_environment``: the value of GATEWAY_KEY_PEPPER, if any. ``mark``: of the pepper the
    keys in use were hashed with, None if no key is in use. To be called by those who write the store. Raises
    StoreError, with words on what to do: the pepper is lost, another one, of a wrong form, or readable by other users.
    """
    return check_pepper(file, from_environment, mark) or Pepper(_make(file, secrets.token_bytes(PEPPER_BYTES)))


def check_pepper(file: Path, from_environment: str | None, mark: bytes | None) -> Pepper | None:
    """``open_pepper`` that makes nothing: None where one would be made."""
    if from_environment:
        pepper, source = Pepper(_from_hexadecimal(from_environment)), PEPPER_VARIABLE
    else:
        secret = _read(file)
        if secret is None:
            if mark is not None:
                raise StoreError(f"{file} is missing. {_LOST}")
            return None
        pepper, source = Pepper(secret), str(file)
    if mark is not None and not hmac.compare_digest(pepper.mark, mark):
        raise StoreError(f"{source} is not the pepper that the keys in the store were made with. {_LOST}")
    return pepper


def _from_hexadecimal(text: str) -> bytes:
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text.strip()) or len(text.strip()) < 2 * PEPPER_BYTES:
        raise StoreError(f"{PEPPER_VARIABLE} is not the hexadecimal form of at least {PEPPER_BYTES} bytes. {_MAKE}")
    return bytes.fromhex(text.strip())


def _read(path: Path) -> bytes | None:
    """The file's bytes, None if there is none. StoreError if others could have read them, or they are too few."""
    try:
        descriptor = os.open(path, os.O_RDONLY | CAREFULLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}. It must be a file of the gateway's user.") from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{path} is not a file. {_LOST}")
        if too_open(status):
            raise StoreError(
                f"{path} can be read or changed by other users (mode {stat.S_IMODE(status.st_mode):04o}). "
                f"If nobody has, run: chmod 600 {path}"
            )
        secret = file.read(PEPPER_BYTES + 1)
    if len(secret) != PEPPER_BYTES:
        raise StoreError(
            f"{path} does not hold {PEPPER_BYTES} bytes. {_LOST} With no keys in use, remove the file instead."
        )
    return secret


def copy_pepper(source: Path, place: Path) -> Pepper:
    """Keep the pepper of ``source`` at ``place`` as well, on the disk when this returns.

    Raises StoreError: there is none, or another one in that place already.
    """
    secret = _read(source)
    if secret is None:
        raise StoreError(f"{source} is missing. {_LOST}")
    if not hmac.compare_digest(_read(place) or _make(place, secret), secret):
        raise StoreError(f"{place} is another pepper than {source}. With no keys in use that need it, remove it.")
    return Pepper(secret)


def _make(path: Path, secret: bytes) -> bytes:
    """Put a pepper in its place, on the disk when this returns; where several processes do that at the same time, it is
    that of the first. Returns the one that is there.

    It is written under another name, so that no other process can read a part of it.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PRIVATELY, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(secret)
                file.flush()
                os.fsync(descriptor)
            os.link(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileExistsError:
        return _read(path) or secret
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}. The pepper of the keys belongs there.") from None
    return secret
