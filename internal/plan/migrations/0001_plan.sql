-- A plan's own columns are what will be published next; plan_version is what was.
CREATE TABLE plan (
  id TEXT PRIMARY KEY,
  product_id TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  title_en TEXT NOT NULL,
  title_zh TEXT NOT NULL,
  description_en TEXT NOT NULL,
  description_zh TEXT NOT NULL,
  public BIGINT NOT NULL CHECK (public IN (0, 1)),
  auto_subscribe BIGINT NOT NULL CHECK (auto_subscribe IN (0, 1)),
  card TEXT NOT NULL,
  commission_ppm BIGINT CHECK (commission_ppm >= 0 AND commission_ppm <= 1000000),
  rpm BIGINT NOT NULL CHECK (rpm >= 0),
  tpm BIGINT NOT NULL CHECK (tpm >= 0),
  concurrency BIGINT NOT NULL CHECK (concurrency >= 0),
  max_output BIGINT NOT NULL CHECK (max_output >= 0),
  terms TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('draft', 'published', 'suspended', 'retired')),
  reason TEXT NOT NULL,
  latest BIGINT NOT NULL CHECK (latest >= 0),
  edits BIGINT NOT NULL CHECK (edits > 0),
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (product_id, name),
  CHECK (auto_subscribe = 0 OR public = 1),
  CHECK (state <> 'published' OR latest > 0)
);
CREATE UNIQUE INDEX plan_auto ON plan (product_id) WHERE auto_subscribe = 1 AND state <> 'retired';

CREATE TABLE plan_version (
  id TEXT PRIMARY KEY,
  plan_id TEXT NOT NULL REFERENCES plan (id),
  number BIGINT NOT NULL CHECK (number > 0),
  card TEXT NOT NULL,
  currency TEXT NOT NULL CHECK (currency <> ''),
  commission_ppm BIGINT NOT NULL CHECK (commission_ppm >= 0 AND commission_ppm <= 1000000),
  rpm BIGINT NOT NULL CHECK (rpm >= 0),
  tpm BIGINT NOT NULL CHECK (tpm >= 0),
  concurrency BIGINT NOT NULL CHECK (concurrency >= 0),
  max_output BIGINT NOT NULL CHECK (max_output >= 0),
  terms TEXT NOT NULL,
  published_at BIGINT NOT NULL,
  rev BIGINT NOT NULL,
  UNIQUE (plan_id, number)
);
CREATE INDEX plan_version_rev ON plan_version (rev);

CREATE TABLE subscription (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  product_id TEXT NOT NULL,
  plan_id TEXT NOT NULL REFERENCES plan (id),
  plan_version_id TEXT NOT NULL REFERENCES plan_version (id),
  currency TEXT NOT NULL CHECK (currency <> ''),
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'ended')),
  reason TEXT NOT NULL,
  auto BIGINT NOT NULL CHECK (auto IN (0, 1)),
  anchor_at BIGINT NOT NULL,
  zone TEXT NOT NULL CHECK (zone <> ''),
  started_at BIGINT NOT NULL,
  ended_at BIGINT,
  edits BIGINT NOT NULL CHECK (edits > 0),
  updated_at BIGINT NOT NULL,
  rev BIGINT NOT NULL,
  CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE UNIQUE INDEX subscription_one ON subscription (org_id, product_id) WHERE state <> 'ended';
CREATE INDEX subscription_rev ON subscription (rev);
CREATE INDEX subscription_org ON subscription (org_id, product_id, id);
CREATE INDEX subscription_product ON subscription (product_id, id);

CREATE TABLE subscription_change (
  id TEXT PRIMARY KEY,
  subscription_id TEXT NOT NULL REFERENCES subscription (id),
  at BIGINT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL CHECK (to_state <> from_state OR to_state = 'suspended'),
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  actor_org TEXT NOT NULL
);
CREATE INDEX subscription_change_of ON subscription_change (subscription_id, id);
