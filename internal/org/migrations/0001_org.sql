CREATE TABLE org (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  title_en TEXT NOT NULL,
  title_zh TEXT NOT NULL,
  parts BIGINT NOT NULL CHECK (parts > 0),
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
  reason TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  rev BIGINT NOT NULL
);
CREATE INDEX org_rev ON org (rev);

CREATE TABLE org_user (
  id TEXT PRIMARY KEY,
  email TEXT NOT NULL,
  email_key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);

CREATE TABLE org_member (
  org_id TEXT NOT NULL REFERENCES org (id),
  user_id TEXT NOT NULL REFERENCES org_user (id),
  role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'billing', 'viewer')),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (org_id, user_id)
);
CREATE INDEX org_member_user ON org_member (user_id);

CREATE TABLE org_setting (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);

CREATE TABLE org_note (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- What signed itself up, and what it was granted. The address is hashed with its day's salt, which
-- is deleted when the day is over.
CREATE TABLE org_signup (
  org_id TEXT PRIMARY KEY REFERENCES org (id),
  user_id TEXT NOT NULL REFERENCES org_user (id),
  day BIGINT NOT NULL,
  ip_hash TEXT NOT NULL,
  domain TEXT NOT NULL,
  credit TEXT NOT NULL,
  currency TEXT NOT NULL
);
CREATE TABLE org_signup_salt (
  day BIGINT PRIMARY KEY,
  salt TEXT NOT NULL
);
CREATE TABLE org_signup_count (
  day BIGINT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('ip', 'domain', 'all')),
  value TEXT NOT NULL,
  n BIGINT NOT NULL CHECK (n > 0),
  PRIMARY KEY (day, kind, value)
);
