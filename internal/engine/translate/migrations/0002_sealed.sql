-- What an organisation keeps is sealed by a key of its own, which the platform's key seals. After a rotation of the
-- platform's keys this table alone is sealed anew.
CREATE TABLE translate_key (
  owner TEXT NOT NULL PRIMARY KEY,
  secret {{blob}} NOT NULL,
  sealed_by TEXT NOT NULL
);
CREATE INDEX translate_key_sealed ON translate_key (sealed_by);

-- They take the place of translate_term and translate_unit, whose rows the server seals and moves here when it
-- starts. hash is a keyed one of the source text.
CREATE TABLE translate_sealed_term (
  owner TEXT NOT NULL,
  glossary TEXT NOT NULL REFERENCES translate_glossary (id) ON DELETE CASCADE,
  source_lang TEXT NOT NULL,
  target_lang TEXT NOT NULL,
  hash TEXT NOT NULL,
  sealed {{blob}} NOT NULL, -- source and target
  PRIMARY KEY (glossary, source_lang, target_lang, hash)
){{without_rowid}};

CREATE TABLE translate_sealed_unit (
  owner TEXT NOT NULL,
  source_lang TEXT NOT NULL,
  target_lang TEXT NOT NULL,
  hash TEXT NOT NULL,
  sealed {{blob}} NOT NULL, -- source and target
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (owner, source_lang, target_lang, hash)
){{without_rowid}};
