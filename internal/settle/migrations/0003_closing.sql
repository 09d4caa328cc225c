CREATE TABLE period_closing (
    subscription TEXT NOT NULL,
    start        BIGINT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('opening', 'closing')),
    currency     TEXT NOT NULL,
    amount       BIGINT NOT NULL,
    txn          TEXT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (subscription, start, kind)
);
