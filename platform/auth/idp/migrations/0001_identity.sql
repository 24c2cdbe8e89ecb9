CREATE TABLE object (
  kind TEXT NOT NULL,
  id   TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (kind, id)
);
CREATE TABLE ticket (
  hash    TEXT PRIMARY KEY,
  kind    TEXT NOT NULL,
  family  TEXT NOT NULL,
  expires BIGINT NOT NULL,
  body    TEXT NOT NULL
);
CREATE INDEX ticket_family ON ticket (family);
CREATE INDEX ticket_expires ON ticket (expires)
