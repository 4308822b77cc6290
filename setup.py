"""What ``pyproject.toml`` cannot say: with PIAPI_GATEWAY_COMPILED=1 the build compiles the hot modules with mypyc.

Without it, as in every installation that does not ask for it, the package is plain Python.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup

if os.environ.get("PIAPI_GATEWAY_COMPILED") == "1" and "bdist_wheel" in sys.argv:
    from mypyc.build import mypycify

    modules = Path("scripts/compiled_modules.txt").read_text(encoding="utf-8").split()
    compiled = mypycify(modules, opt_level="2", debug_level="0", multi_file=True, group_name="piapi_gateway")
    for extension in compiled:  # another compiler's new warning is no reason to do without
        extension.extra_compile_args = [one for one in extension.extra_compile_args if one != "-Werror"]
    setup(ext_modules=compiled)
else:
    setup()
