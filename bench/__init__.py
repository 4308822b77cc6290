"""Measures the gateway's speed and memory beside its peers: ``python -m bench``.

``quick.py`` compares commits, ``ledger.py`` and ``pool.py`` measure one part each; they run on their own.
"""
