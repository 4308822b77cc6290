"""The defaults shared by the admin API and the command line.

The command line's ``--help`` reads this file, so it imports nothing.
"""

from __future__ import annotations

USAGE_FIELDS = ("key", "team", "model", "upstream", "day")
"""The fields usage can be grouped by."""

USAGE_BY = "key,model"
"""The fields usage is grouped by, as a caller writes them."""

USAGE_SINCE = "30d"
"""How far back a report reaches, as a caller writes it."""

ROTATION_GRACE = "24h"
"""How long the old key works after a rotation, as a caller writes it."""
