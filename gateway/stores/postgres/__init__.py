"""The store of a fleet: one PostgreSQL database, which several gateways share."""
