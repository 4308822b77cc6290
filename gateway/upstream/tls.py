"""The TLS contexts of a dialer."""

from __future__ import annotations

import asyncio
import ssl

from gateway.core.connection_options import TLSFiles
from gateway.runtime.tls import client_context

_SYSTEM = TLSFiles()


class TLSContexts:
    """The contexts of a dialer, each made once, when it is first needed.

    ``only``: one that serves for all; it must verify certificates and host names. None for those of the files.
    """

    def __init__(self, only: ssl.SSLContext | None = None) -> None:
        if only is not None and (only.verify_mode != ssl.CERT_REQUIRED or not only.check_hostname):
            raise ValueError("the SSL context must verify certificates and host names")
        self._only = only
        self._made: dict[TLSFiles, ssl.SSLContext] = {_SYSTEM: client_context()} if only is None else {}

    async def of(self, files: TLSFiles) -> ssl.SSLContext:
        """The context for ``files``. Raises as ``client_context``."""
        context = self._only or self._made.get(files)
        if context is None:
            made = await asyncio.to_thread(client_context, files.ca_files, files.certificate, files.key)
            context = self._made[files] = made
        return context
