CREATE TABLE job (
  id TEXT PRIMARY KEY, parent TEXT NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL, requester TEXT NOT NULL,
  hash TEXT NOT NULL, definition TEXT NOT NULL, priority BIGINT NOT NULL, state TEXT NOT NULL,
  stop BIGINT NOT NULL, dirty BIGINT NOT NULL, attempts BIGINT NOT NULL, after BIGINT NOT NULL,
  lease BIGINT NOT NULL, fence BIGINT NOT NULL, worker TEXT NOT NULL,
  done BIGINT NOT NULL, total BIGINT NOT NULL, note TEXT NOT NULL, checkpoint TEXT NOT NULL, result TEXT NOT NULL, error TEXT NOT NULL,
  created BIGINT NOT NULL, started BIGINT NOT NULL, changed BIGINT NOT NULL, finished BIGINT NOT NULL,
  keep BIGINT NOT NULL, expires BIGINT NOT NULL
);
CREATE INDEX job_state ON job (state, priority, created);
CREATE INDEX job_parent ON job (parent, created);
CREATE INDEX job_expires ON job (expires) WHERE finished > 0;
CREATE UNIQUE INDEX job_hash ON job (hash) WHERE hash <> '' AND finished = 0;
