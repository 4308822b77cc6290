"""The formats on the wire, parsed and written without I/O."""
