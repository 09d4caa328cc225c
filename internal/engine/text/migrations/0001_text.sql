-- A classifier that an organisation trains. live is the version that answers, 0 for none; latest the last number given.
CREATE TABLE text_classifier (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  live BIGINT NOT NULL CHECK (live >= 0),
  latest BIGINT NOT NULL CHECK (latest >= live),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (owner, name)
);

-- One training: an immutable model, and how it did on examples held out.
CREATE TABLE text_classifier_version (
  classifier TEXT NOT NULL REFERENCES text_classifier (id),
  version BIGINT NOT NULL CHECK (version > 0),
  owner TEXT NOT NULL,
  examples BIGINT NOT NULL,
  labels BIGINT NOT NULL,
  seed BIGINT NOT NULL,
  report TEXT NOT NULL, -- JSON
  size BIGINT NOT NULL,
  model {{blob}} NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (classifier, version)
);
CREATE INDEX text_classifier_version_owner ON text_classifier_version (owner);
