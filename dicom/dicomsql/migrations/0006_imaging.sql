-- How far the resources of a FHIR service follow the change feed (one row, id 1), and
-- what they depend on. A note is a study that is to be worked off: seq is its
-- last change, first the time of the first one (in microseconds, as due).
CREATE TABLE imaging (id INTEGER PRIMARY KEY, settings TEXT NOT NULL, pos INTEGER NOT NULL);
CREATE TABLE note (
  pid INTEGER NOT NULL, study TEXT NOT NULL, seq INTEGER NOT NULL, first INTEGER NOT NULL, due INTEGER NOT NULL, tries INTEGER NOT NULL,
  PRIMARY KEY (pid, study)
) WITHOUT ROWID;
CREATE INDEX note_due ON note (due, pid, study);
