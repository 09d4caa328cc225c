CREATE TABLE ledger_account (
    id           TEXT PRIMARY KEY,
    owner        TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    currency     TEXT NOT NULL,
    may_negative BIGINT NOT NULL CHECK (may_negative IN (0, 1)),
    folded       BIGINT NOT NULL CHECK (folded IN (0, 1)),
    balance      BIGINT NOT NULL DEFAULT 0,
    reserved     BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    created      BIGINT NOT NULL,
    UNIQUE (owner, purpose, currency),
    CHECK (may_negative = 1 OR balance >= reserved),
    CHECK (balance BETWEEN -4000000000000000000 AND 4000000000000000000)
);

CREATE TABLE ledger_transaction (
    id     TEXT PRIMARY KEY,
    kind   TEXT NOT NULL,
    cause  TEXT NOT NULL,
    memo   TEXT NOT NULL,
    actor  TEXT NOT NULL,
    second TEXT NOT NULL,
    at     BIGINT NOT NULL,
    seq    BIGINT UNIQUE,
    hash   {{blob}},
    UNIQUE (kind, cause),
    CHECK ((seq IS NULL) = (hash IS NULL))
);
CREATE INDEX ledger_transaction_unsealed ON ledger_transaction (at, id) WHERE seq IS NULL;

CREATE TABLE ledger_posting (
    txn     TEXT NOT NULL REFERENCES ledger_transaction (id),
    line    BIGINT NOT NULL,
    account TEXT NOT NULL REFERENCES ledger_account (id),
    amount  BIGINT NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (txn, line)
);
CREATE INDEX ledger_posting_account ON ledger_posting (account, txn);

CREATE TABLE ledger_chain (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    seq  BIGINT NOT NULL,
    hash {{blob}} NOT NULL
);
