-- The gateways that share this store. Times are this server's, so that no gateway's clock decides who lives.
CREATE TABLE gateways (
    id            TEXT PRIMARY KEY,
    started_at_ns BIGINT NOT NULL,
    seen_at       TIMESTAMPTZ NOT NULL,
    version       TEXT NOT NULL,
    hostname      TEXT NOT NULL,
    pid           BIGINT NOT NULL,
    main_url      TEXT NOT NULL,
    admin_url     TEXT NOT NULL,
    in_flight     BIGINT NOT NULL,
    sees          JSONB NOT NULL,
    reaped_by     TEXT  -- the gateway that takes a dead one over
);
