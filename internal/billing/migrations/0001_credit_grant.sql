-- Credit that the platform gave to a consumer's wallet; the ledger's transaction names the grant as its cause.
CREATE TABLE credit_grant (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  amount BIGINT NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  txn TEXT NOT NULL UNIQUE,
  created_at BIGINT NOT NULL
);
CREATE INDEX credit_grant_org ON credit_grant (org_id, id);
