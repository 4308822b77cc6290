"""How many files and sockets this process may have open at once; None where the system sets no bound, or tells none."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows: sockets are no descriptors there

    def descriptor_limit() -> int | None:
        return None

    def raise_descriptor_limit() -> int | None:
        return None

else:
    _TRIED = (65_536, 10_240)
    """What is tried where the hard limit is infinite: macOS has another bound then, which only trying tells."""

    _NO_LIMIT = 1 << 30

    def descriptor_limit() -> int | None:
        """The limit in force."""
        return _bound(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def raise_descriptor_limit() -> int | None:
        """Raise the limit as far as this process may. Returns the limit in force then."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for wanted in (hard, *(_TRIED if _bound(hard) is None else ())):
            if soft == wanted or (_bound(soft) or 0) > wanted >= 0:
                break
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (ValueError, OSError):  # more than the kernel gives, whatever the limit says
                continue
            break
        return descriptor_limit()

    def _bound(limit: int) -> int | None:
        """macOS writes "infinite" as a large number, Linux as -1."""
        return None if limit in (resource.RLIM_INFINITY, -1) or limit >= _NO_LIMIT else limit
