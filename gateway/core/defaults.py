"""What holds where a caller names nothing, said once for the admin API and the command line.

The command line's ``--help`` reads this file, so it imports nothing.
"""

from __future__ import annotations

USAGE_FIELDS = ("key", "team", "model", "upstream", "day")
"""What usage can be grouped by."""

USAGE_BY = "key,model"
"""What usage is grouped by, as a caller would write it."""

USAGE_SINCE = "30d"
"""How far a report reaches back, as a caller would write it."""

ROTATION_GRACE = "24h"
"""How long the key before a rotation works on, as a caller would write it."""
