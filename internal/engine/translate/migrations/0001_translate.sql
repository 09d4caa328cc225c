-- Glossaries of an organisation: words that are always translated the same way.
CREATE TABLE translate_glossary (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX translate_glossary_owner ON translate_glossary (owner, id);

-- The terms of a glossary, for each pair of languages.
CREATE TABLE translate_term (
  owner TEXT NOT NULL,
  glossary TEXT NOT NULL REFERENCES translate_glossary (id) ON DELETE CASCADE,
  source_lang TEXT NOT NULL,
  target_lang TEXT NOT NULL,
  source TEXT NOT NULL,
  target TEXT NOT NULL,
  PRIMARY KEY (glossary, source_lang, target_lang, source)
){{without_rowid}};

-- Translation memory of an organisation: texts and their approved translations.
CREATE TABLE translate_unit (
  owner TEXT NOT NULL,
  source_lang TEXT NOT NULL,
  target_lang TEXT NOT NULL,
  hash TEXT NOT NULL, -- of the source text
  source TEXT NOT NULL,
  target TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (owner, source_lang, target_lang, hash)
){{without_rowid}};

-- How many units an organisation has, and how often they have changed.
CREATE TABLE translate_memory (
  owner TEXT NOT NULL PRIMARY KEY,
  units BIGINT NOT NULL CHECK (units >= 0),
  revision BIGINT NOT NULL
);

-- Documents that were translated and are to be fetched, sealed.
CREATE TABLE translate_document (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  secret TEXT NOT NULL, -- hash of the key that fetches it
  name TEXT NOT NULL,
  format TEXT NOT NULL,
  characters BIGINT NOT NULL,
  data {{blob}} NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX translate_document_expiry ON translate_document (expires_at);
CREATE INDEX translate_document_owner ON translate_document (owner);
