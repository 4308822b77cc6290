"""Pure formats: what travels on the wire, parsed and written without I/O."""
