"""The admin API's paths, for the routes that answer there and for the command line that asks there."""

from __future__ import annotations

CONSOLE_STATIC = "/console/static/"
"""Files of the console's pages, which alone ask for no key: they tell nothing of this gateway."""

METRICS_PATH = "/metrics"
USAGE_PATH = "/admin/v1/usage"
UPSTREAMS_PATH = "/admin/v1/upstreams"
KEYS_PATH = "/admin/v1/keys"
RECONCILE_PATH = "/admin/v1/reconcile"
PRUNE_PATH = "/admin/v1/prune"
HELD_PATH = "/admin/v1/held"
RELEASE_PATH = "/admin/v1/held/release"
AUDIT_PATH = "/admin/v1/audit"
VERIFY_PATH = "/admin/v1/verify"
REQUESTS_PATH = "/admin/v1/requests"
JOBS_PATH = "/admin/v1/jobs"
DELIVERIES_PATH = "/admin/v1/webhooks/deliveries"
RELOAD_PATH = "/admin/v1/reload"
