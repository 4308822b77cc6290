"""The suite, in the rooms of the package it tests; e2e/ and process/ look from outside."""
