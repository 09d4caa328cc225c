CREATE TABLE budget (
    id        TEXT PRIMARY KEY,
    org       TEXT NOT NULL,
    name      TEXT NOT NULL,
    currency  TEXT NOT NULL,
    amount    BIGINT NOT NULL CHECK (amount >= 0),
    span      TEXT NOT NULL CHECK (span IN ('total', 'day', 'month')),
    zone      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('active', 'ended')),
    version   BIGINT NOT NULL,
    created   BIGINT NOT NULL
);
CREATE INDEX budget_org ON budget (org, id);

CREATE TABLE budget_period (
    budget   TEXT NOT NULL REFERENCES budget (id),
    start    BIGINT NOT NULL,
    spent    BIGINT NOT NULL DEFAULT 0,
    reserved BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    PRIMARY KEY (budget, start)
);

CREATE TABLE credit_lease (
    id       TEXT PRIMARY KEY,
    spool    TEXT NOT NULL,
    epoch    BIGINT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('wallet', 'budget')),
    org      TEXT NOT NULL,
    currency TEXT NOT NULL,
    budget   TEXT NOT NULL,
    start    BIGINT NOT NULL,
    granted  BIGINT NOT NULL,
    spent    BIGINT NOT NULL DEFAULT 0,
    state    TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    created  BIGINT NOT NULL,
    CHECK (spent <= granted)
);
CREATE INDEX credit_lease_spool ON credit_lease (spool, state, epoch);

CREATE TABLE spool_cursor (
    spool   TEXT PRIMARY KEY,
    epoch   BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    pos     BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

CREATE TABLE period_usage (
    subscription TEXT NOT NULL,
    start        BIGINT NOT NULL,
    plan_version TEXT NOT NULL,
    state        TEXT NOT NULL,
    PRIMARY KEY (subscription, start, plan_version)
);

CREATE TABLE settle_suspense (
    event    TEXT PRIMARY KEY,
    org      TEXT NOT NULL,
    record   TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at       BIGINT NOT NULL,
    resolved BIGINT
);
