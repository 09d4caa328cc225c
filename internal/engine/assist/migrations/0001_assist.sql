-- Bots of an organisation. settings is JSON: greeting, intents, queues, knowledge.
CREATE TABLE assist_bot (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0)
);
CREATE UNIQUE INDEX assist_bot_name ON assist_bot (owner, name);

-- A knowledge base. revision counts changes of its documents, so that indexes in memory know when they are old.
CREATE TABLE assist_knowledge (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  language TEXT NOT NULL, -- of documents that do not say; '' to tell by their text
  revision BIGINT NOT NULL CHECK (revision > 0),
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX assist_knowledge_name ON assist_knowledge (owner, name);

CREATE TABLE assist_document (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  knowledge TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('file', 'text', 'url', 'faq')),
  source TEXT NOT NULL, -- hash of where it came from: the same source again replaces the document
  language TEXT NOT NULL,
  bytes BIGINT NOT NULL CHECK (bytes >= 0),
  passages BIGINT NOT NULL CHECK (passages >= 0),
  sealed_by TEXT NOT NULL, -- id of the sealer's key
  head {{blob}} NOT NULL,    -- sealed: title, source
  content {{blob}} NOT NULL, -- sealed: text
  search {{blob}} NOT NULL,  -- sealed: passages and vectors
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX assist_document_source ON assist_document (knowledge, source);
CREATE INDEX assist_document_key ON assist_document (sealed_by);

CREATE TABLE assist_queue (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  settings TEXT NOT NULL, -- JSON: languages, skills, examples, priority
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX assist_queue_name ON assist_queue (owner, name);

CREATE TABLE assist_agent (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('online', 'away', 'offline')),
  capacity BIGINT NOT NULL CHECK (capacity BETWEEN 0 AND 100),
  automatic BIGINT NOT NULL CHECK (automatic IN (0, 1)), -- gets sessions without asking for them
  settings TEXT NOT NULL, -- JSON: languages, skills
  assigned_at BIGINT NOT NULL, -- last time that a session was given to it
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX assist_agent_name ON assist_agent (owner, name);

-- One row for each organisation: whoever routes its sessions locks it, and takes the next ticket from it.
CREATE TABLE assist_routing (
  owner TEXT NOT NULL PRIMARY KEY,
  ticket BIGINT NOT NULL CHECK (ticket >= 0)
);

-- A conversation. One that was erased keeps times and outcomes for the figures, and nothing that was said.
CREATE TABLE assist_session (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  bot TEXT NOT NULL,
  secret {{blob}} NOT NULL, -- SHA-256 of the visitor's secret
  state TEXT NOT NULL CHECK (state IN ('bot', 'waiting', 'human', 'closed', 'erased')),
  language TEXT NOT NULL,
  channel TEXT NOT NULL CHECK (channel IN ('text', 'voice')),
  queue TEXT NOT NULL DEFAULT '',
  first_queue TEXT NOT NULL DEFAULT '',   -- the classifier's choice
  correct_queue TEXT NOT NULL DEFAULT '', -- what an agent said it should have been
  priority BIGINT NOT NULL DEFAULT 0,
  ticket BIGINT NOT NULL DEFAULT 0,       -- place in the line: first in, first out within a priority
  agent TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',        -- why it was handed over
  intent TEXT NOT NULL DEFAULT '',        -- the last that was recognised
  resolution TEXT NOT NULL DEFAULT '',
  rating BIGINT NOT NULL DEFAULT 0 CHECK (rating BETWEEN 0 AND 5),
  turns BIGINT NOT NULL DEFAULT 0,    -- messages of the visitor
  answered BIGINT NOT NULL DEFAULT 0, -- of these: the bot had an answer
  seq BIGINT NOT NULL DEFAULT 0,      -- of the last message
  created_at BIGINT NOT NULL,
  active_at BIGINT NOT NULL,
  waiting_at BIGINT NOT NULL DEFAULT 0,
  assigned_at BIGINT NOT NULL DEFAULT 0,
  replied_at BIGINT NOT NULL DEFAULT 0, -- first message of an agent
  closed_at BIGINT NOT NULL DEFAULT 0,
  expires_at BIGINT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  sealed_by TEXT NOT NULL,
  memory {{blob}} NOT NULL, -- sealed: slots, pending questions, the visitor's name, the comment of the rating
  CHECK ((state = 'human') = (agent <> '' AND state <> 'closed' AND state <> 'erased'))
);
CREATE INDEX assist_session_line ON assist_session (owner, state, priority, ticket);
CREATE INDEX assist_session_bot ON assist_session (bot, created_at);
CREATE INDEX assist_session_age ON assist_session (expires_at);
CREATE INDEX assist_session_key ON assist_session (sealed_by);

CREATE TABLE assist_message (
  session TEXT NOT NULL,
  seq BIGINT NOT NULL CHECK (seq > 0),
  owner TEXT NOT NULL,
  at BIGINT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('user', 'bot', 'agent', 'event', 'note')),
  sealed_by TEXT NOT NULL,
  body {{blob}} NOT NULL, -- sealed JSON
  PRIMARY KEY (session, seq)
) {{without_rowid}};
CREATE INDEX assist_message_key ON assist_message (sealed_by);
