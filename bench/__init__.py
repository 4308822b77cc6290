"""Measures the gateway's speed and memory beside nginx and a direct run: ``python -m bench``.

``ledger.py`` and ``pool.py`` measure one part each and run on their own.
"""
