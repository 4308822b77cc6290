"""Errors as upstreams write them: found in any shape, with the words that say something."""
