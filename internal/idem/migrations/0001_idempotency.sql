-- An answer is kept with the key that its request carried, in the transaction of the request's effect.
CREATE TABLE idempotency (
  principal TEXT NOT NULL,
  name TEXT NOT NULL CHECK (name <> ''),
  digest {{blob}} NOT NULL,
  answer {{blob}} NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (principal, name)
);
