CREATE TABLE upstream (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  url TEXT NOT NULL CHECK (url <> ''),
  dialect TEXT NOT NULL CHECK (dialect <> ''),
  connect_ms BIGINT NOT NULL CHECK (connect_ms > 0),
  first_byte_ms BIGINT NOT NULL CHECK (first_byte_ms > 0),
  idle_ms BIGINT NOT NULL CHECK (idle_ms > 0),
  total_ms BIGINT NOT NULL CHECK (total_ms > 0),
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'retired')),
  reason TEXT NOT NULL,
  edits BIGINT NOT NULL CHECK (edits > 0),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (org_id, name)
);

CREATE TABLE upstream_credential (
  id TEXT PRIMARY KEY,
  upstream_id TEXT NOT NULL REFERENCES upstream (id),
  name TEXT NOT NULL CHECK (name <> ''),
  sealed {{blob}} NOT NULL,
  last_four TEXT NOT NULL CHECK (length(last_four) <= 4),
  state TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (upstream_id, name)
);

-- What an upstream's model list has shown over time; gone_at is null while a model is listed.
CREATE TABLE upstream_model (
  upstream_id TEXT NOT NULL REFERENCES upstream (id),
  model TEXT NOT NULL CHECK (model <> ''),
  first_seen_at BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL CHECK (last_seen_at >= first_seen_at),
  gone_at BIGINT,
  PRIMARY KEY (upstream_id, model)
);

CREATE TABLE product (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  kind TEXT NOT NULL CHECK (kind <> ''),
  title_en TEXT NOT NULL,
  title_zh TEXT NOT NULL,
  description_en TEXT NOT NULL,
  description_zh TEXT NOT NULL,
  model TEXT NOT NULL CHECK (model <> ''),
  capabilities TEXT NOT NULL,
  input_modalities TEXT NOT NULL,
  output_modalities TEXT NOT NULL,
  context BIGINT NOT NULL CHECK (context >= 0),
  max_output BIGINT NOT NULL CHECK (max_output >= 0),
  definition TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('draft', 'published', 'suspended', 'retired')),
  reason TEXT NOT NULL,
  edits BIGINT NOT NULL CHECK (edits > 0),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  published_at BIGINT,
  UNIQUE (org_id, name),
  UNIQUE (org_id, model),
  CHECK (state <> 'published' OR published_at IS NOT NULL)
);

CREATE TABLE product_version (
  id TEXT PRIMARY KEY,
  product_id TEXT NOT NULL REFERENCES product (id),
  name TEXT NOT NULL CHECK (name <> ''),
  part TEXT NOT NULL CHECK (part IN ('stable', 'canary', 'blue', 'green', 'retired')),
  share BIGINT NOT NULL CHECK (share >= 0 AND share <= 100),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (product_id, name),
  CHECK (part <> 'retired' OR share = 0)
);

CREATE TABLE product_target (
  id TEXT PRIMARY KEY,
  version_id TEXT NOT NULL REFERENCES product_version (id),
  upstream_id TEXT NOT NULL REFERENCES upstream (id),
  upstream_model TEXT NOT NULL CHECK (upstream_model <> ''),
  priority BIGINT NOT NULL CHECK (priority >= 0),
  weight BIGINT NOT NULL CHECK (weight > 0),
  UNIQUE (version_id, upstream_id, upstream_model)
);
CREATE INDEX product_target_upstream ON product_target (upstream_id);
