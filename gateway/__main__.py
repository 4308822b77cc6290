"""``python -m gateway``: the command line, for where the script ``piapi-gateway`` is not on the path."""

from __future__ import annotations

import sys

from gateway.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
