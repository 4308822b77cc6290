"""Secrets from which keys are derived: the webhook signing key in Standard Webhooks' form, and the pepper's variable.

Source: https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii

_PREFIX = "whsec_"

PEPPER_VARIABLE = "GATEWAY_KEY_PEPPER"
"""The environment variable that may hold the pepper of virtual keys in hexadecimal instead of the file."""


def signing_key(secret: str) -> bytes:
    """The bytes that sign webhooks: those that ``whsec_<base64>`` stands for, else the text itself.

    Raises ValueError where no valid base64 follows the prefix.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    text = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("what follows whsec_ must be base64; a plain secret goes without it")
    return key
