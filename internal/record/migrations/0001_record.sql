-- Whether an organisation's prompts and answers are kept, and for how long. No row: they are not.
CREATE TABLE recording (
  org TEXT NOT NULL PRIMARY KEY,
  enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
  days BIGINT NOT NULL CHECK (days BETWEEN 1 AND 365),
  erased BIGINT NOT NULL DEFAULT 0, -- what is of this time or before is void
  changed_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 1)
);

-- What was said in one call, sealed. A side that was longer than what is kept is cut.
CREATE TABLE recorded_content (
  event TEXT NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  at BIGINT NOT NULL,
  sealed_by TEXT NOT NULL, -- id of the sealer's key
  request {{blob}} NOT NULL,
  request_cut BIGINT NOT NULL CHECK (request_cut IN (0, 1)),
  answer {{blob}} NOT NULL,
  answer_cut BIGINT NOT NULL CHECK (answer_cut IN (0, 1))
);
CREATE INDEX recorded_content_age ON recorded_content (org, at);
CREATE INDEX recorded_content_key ON recorded_content (sealed_by);
