-- The process that owns a spool: how the operator tells a node that will not come back.
CREATE TABLE node (
    spool   TEXT PRIMARY KEY,
    epoch   BIGINT NOT NULL,
    host    TEXT NOT NULL,
    version TEXT NOT NULL,
    roles   TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('running', 'stopped', 'reclaimed')),
    started BIGINT NOT NULL,
    seen    BIGINT NOT NULL
);
