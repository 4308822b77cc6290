"""The reference pages of docs/, written from the code: see scripts/build_docs.py."""
