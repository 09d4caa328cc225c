-- A space is one data set of an owner. seq counts its changes: who writes to a space holds this row's lock, so
-- that a reader who has seen seq n never meets a lower one later. Items and users are numbered within their space by
-- items and users; a number is never used again.
CREATE TABLE recommend_space (
    id      {{serial}},
    owner   TEXT NOT NULL,
    name    TEXT NOT NULL,
    config  TEXT NOT NULL,
    seq     BIGINT NOT NULL CHECK (seq >= 0),
    items   BIGINT NOT NULL CHECK (items >= 0),
    users   BIGINT NOT NULL CHECK (users >= 0),
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    UNIQUE (owner, name)
);

-- listed is 0 for an item that was only named by an event, or was deleted: it keeps its number and history.
CREATE TABLE recommend_item (
    space      BIGINT NOT NULL REFERENCES recommend_space (id),
    num        BIGINT NOT NULL,
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    listed     BIGINT NOT NULL CHECK (listed IN (0, 1)),
    available  BIGINT NOT NULL CHECK (available IN (0, 1)),
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    category   TEXT NOT NULL,
    tags       TEXT NOT NULL,
    price      BIGINT,
    currency   TEXT NOT NULL,
    attributes TEXT NOT NULL,
    published  BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    PRIMARY KEY (space, num),
    UNIQUE (space, id)
);
CREATE INDEX recommend_item_seq ON recommend_item (space, seq);

CREATE TABLE recommend_user (
    space      BIGINT NOT NULL REFERENCES recommend_space (id),
    num        BIGINT NOT NULL,
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    attributes TEXT NOT NULL,
    created    BIGINT NOT NULL,
    PRIMARY KEY (space, num),
    UNIQUE (space, id)
);
CREATE INDEX recommend_user_seq ON recommend_user (space, seq);

-- The rows below have no owner: a space has one, and they are reached through it alone. They are many.
CREATE TABLE recommend_event (
    space   BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    id      TEXT, -- the caller's; NULL where there is none
    usr     BIGINT NOT NULL,
    item    BIGINT NOT NULL,
    kind    BIGINT NOT NULL,
    value   BIGINT NOT NULL, -- thousandths of a rating
    at      BIGINT NOT NULL, -- seconds since 1970
    request TEXT NOT NULL,   -- of the recommendation that led to it
    PRIMARY KEY (space, seq),
    UNIQUE (space, id)
) {{without_rowid}};
CREATE INDEX recommend_event_user ON recommend_event (space, usr);
CREATE INDEX recommend_event_request ON recommend_event (space, request) WHERE request <> '';

-- A user that was deleted, told by number to the other nodes; removed once they have all had time to see it.
CREATE TABLE recommend_gone (
    space BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    usr   BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (space, seq)
) {{without_rowid}};

CREATE TABLE recommend_experiment (
    space   BIGINT NOT NULL REFERENCES recommend_space (id),
    name    TEXT NOT NULL,
    owner   TEXT NOT NULL,
    config  TEXT NOT NULL,
    running BIGINT NOT NULL CHECK (running IN (0, 1)),
    created BIGINT NOT NULL,
    PRIMARY KEY (space, name)
);

-- One recommendation that was shown under an experiment.
CREATE TABLE recommend_exposure (
    space      BIGINT NOT NULL,
    request    TEXT NOT NULL,
    experiment TEXT NOT NULL,
    arm        TEXT NOT NULL,
    usr        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (space, request)
) {{without_rowid}};
CREATE INDEX recommend_exposure_arm ON recommend_exposure (space, experiment, arm);
CREATE INDEX recommend_exposure_user ON recommend_exposure (space, usr);
