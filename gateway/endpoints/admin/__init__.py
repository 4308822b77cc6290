"""The admin listener's routes: metrics, keys, usage, upstreams, ledger, reload."""
