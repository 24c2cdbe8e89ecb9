-- The raw log. at is in milliseconds since 1970.
CREATE TABLE raw (
  off INTEGER PRIMARY KEY,
  at  INTEGER NOT NULL,
  src TEXT NOT NULL,
  sid TEXT,
  dev TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE UNIQUE INDEX raw_sid ON raw (src, sid) WHERE sid IS NOT NULL;
-- Single numbers: done is the offset of the pipeline, last the highest offset that was ever given.
CREATE TABLE num (name TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO num (name, v) VALUES ('done', 0), ('last', 0);
CREATE TABLE mapping (
  kind TEXT NOT NULL,
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (kind, version)
) WITHOUT ROWID;
CREATE TABLE letter (
  id INTEGER PRIMARY KEY,
  off INTEGER NOT NULL,
  at INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  src TEXT NOT NULL,
  stage TEXT NOT NULL,
  class TEXT NOT NULL,
  msg TEXT NOT NULL,
  typ TEXT NOT NULL,
  line INTEGER NOT NULL,
  col INTEGER NOT NULL,
  devmap INTEGER NOT NULL,
  fhirmap INTEGER NOT NULL,
  state TEXT NOT NULL,
  edited INTEGER NOT NULL,
  dev TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX letter_open ON letter (state, class, id);
CREATE TABLE replay (
  id INTEGER PRIMARY KEY,
  after_off INTEGER NOT NULL,
  until_off INTEGER NOT NULL,
  dev TEXT NOT NULL,
  cur INTEGER NOT NULL,
  state TEXT NOT NULL,
  messages INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL
);
