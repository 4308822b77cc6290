"""What the way to a collector trusts."""

from __future__ import annotations

from urllib3 import HTTPSConnectionPool

from gateway.telemetry.otlp import Collector, _Adapter, _session


def test_a_collector_is_trusted_by_no_authority_that_a_library_brings() -> None:
    """The library loads its own bundle into whichever context it is given, unless it is told of none."""
    url = "https://localhost:4318/v1/traces"
    adapter = _session(Collector(url, "", {}, "gw", "1")).get_adapter(url)
    assert isinstance(adapter, _Adapter)
    pool = HTTPSConnectionPool("localhost", 4318)
    adapter.cert_verify(pool, url, True, None)
    assert (pool.ca_certs, pool.ca_cert_dir, pool.cert_reqs) == (None, None, "CERT_REQUIRED")
    chosen = HTTPSConnectionPool("localhost", 4318)
    adapter.cert_verify(chosen, url, __file__, None)
    assert chosen.ca_certs == __file__, "OTEL_EXPORTER_OTLP_CERTIFICATE still counts"
