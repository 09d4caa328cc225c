-- A key keeps its id for life; its secrets come and go by rotation.
CREATE TABLE auth_key (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('inf', 'mgt')),
  org_id TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL CHECK ((kind = 'mgt') = (role <> '')),
  user_id TEXT NOT NULL,
  created_by TEXT NOT NULL,
  departed BIGINT NOT NULL CHECK (departed IN (0, 1)),
  state TEXT NOT NULL CHECK (state IN ('active', 'revoked')),
  reason TEXT NOT NULL,
  limits TEXT NOT NULL,
  budgets TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL CHECK ((state = 'revoked') = (revoked_at <> 0)),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  rev BIGINT NOT NULL
);
CREATE INDEX auth_key_rev ON auth_key (rev);
CREATE INDEX auth_key_org ON auth_key (org_id, id);

CREATE TABLE auth_secret (
  hash {{blob}} PRIMARY KEY,
  key_id TEXT NOT NULL REFERENCES auth_key (id),
  prefix TEXT NOT NULL,
  last_four TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX auth_secret_key ON auth_secret (key_id);

CREATE TABLE auth_bootstrap (
  hash {{blob}} PRIMARY KEY,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  consumed_at BIGINT NOT NULL
);
