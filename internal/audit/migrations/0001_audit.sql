-- Entries are written in the transaction of the change they tell of; seq and hash are given
-- afterwards, in the order of sealing.
CREATE TABLE audit_entry (
  id TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor_org TEXT NOT NULL,
  actor_user TEXT NOT NULL,
  actor_key TEXT NOT NULL,
  actor_system TEXT NOT NULL,
  request_id TEXT NOT NULL,
  remote TEXT NOT NULL,
  org_id TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  reason TEXT NOT NULL,
  changes TEXT NOT NULL,
  seq BIGINT UNIQUE,
  hash TEXT,
  CHECK ((seq IS NULL) = (hash IS NULL))
);
CREATE INDEX audit_entry_unsealed ON audit_entry (id) WHERE seq IS NULL;
CREATE INDEX audit_entry_org ON audit_entry (org_id, id);
CREATE INDEX audit_entry_object ON audit_entry (object, id);

CREATE TABLE audit_head (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  seq BIGINT NOT NULL CHECK (seq >= 0),
  hash TEXT NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');
