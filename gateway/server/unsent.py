"""The count of bytes written that the client has not taken yet, the kernel's share included."""

from __future__ import annotations

import asyncio
import struct

try:
    import fcntl
    import termios
except ImportError:  # not a Unix: the transport's own buffer must do

    def _in_kernel(descriptor: int) -> int:
        return 0

else:

    def _in_kernel(descriptor: int) -> int:
        """Bytes that the peer has not acknowledged: tcp(7), SIOCOUTQ, which Linux numbers like TIOCOUTQ."""
        try:
            answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Bytes in the transport's buffer and the kernel's.

    The transport's buffer alone would not do: a kernel takes up to several MiB at once and then, from a slow reader's
    side, nothing for minutes.
    """
    endpoint = transport.get_extra_info("socket")
    descriptor = -1 if endpoint is None else endpoint.fileno()
    return transport.get_write_buffer_size() + (_in_kernel(descriptor) if descriptor >= 0 else 0)
