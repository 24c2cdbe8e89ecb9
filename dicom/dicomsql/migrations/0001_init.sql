-- Numbers and flags of the store itself: seq (the last change), object (up to
-- where numbers of blobs are reserved), open (1 while a process uses the file).
CREATE TABLE meta (k TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE part (pid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);

-- attrs holds the attributes of the level as dicom.Attributes.
CREATE TABLE study (
  sid INTEGER PRIMARY KEY, pid INTEGER NOT NULL, uid TEXT NOT NULL,
  patient_name TEXT, patient_id TEXT, birth_date TEXT, sex TEXT, accession TEXT, referring TEXT,
  study_date TEXT, study_time TEXT, description TEXT, study_id TEXT,
  modalities TEXT NOT NULL, nseries INTEGER NOT NULL, ninstances INTEGER NOT NULL, version INTEGER NOT NULL, attrs BLOB NOT NULL
);
CREATE UNIQUE INDEX study_uid ON study (uid, pid);
CREATE INDEX study_recent ON study (pid, sid);
CREATE INDEX study_patient ON study (pid, patient_id, sid);
CREATE INDEX study_name ON study (pid, patient_name, sid);
CREATE INDEX study_accession ON study (pid, accession, sid);
CREATE INDEX study_day ON study (pid, study_date, sid);

CREATE TABLE series (
  eid INTEGER PRIMARY KEY, sid INTEGER NOT NULL, pid INTEGER NOT NULL, uid TEXT NOT NULL,
  modality TEXT, number TEXT, description TEXT, model TEXT, pps_date TEXT, pps_time TEXT, step_id TEXT, procedure_id TEXT,
  ninstances INTEGER NOT NULL, version INTEGER NOT NULL, attrs BLOB NOT NULL
);
CREATE UNIQUE INDEX series_uid ON series (uid, sid);
CREATE INDEX series_study ON series (sid, eid);
CREATE INDEX series_recent ON series (pid, eid);
CREATE INDEX series_modality ON series (pid, modality, eid);

-- iid is the seq of the change that made the row; a new version is a new row.
-- obj, pos and size say where the file is; orig_* where the one is that a bulk update replaced.
CREATE TABLE instance (
  iid INTEGER PRIMARY KEY, eid INTEGER NOT NULL, sid INTEGER NOT NULL, pid INTEGER NOT NULL, uid TEXT NOT NULL,
  class TEXT, number TEXT, syntax TEXT NOT NULL, obj INTEGER NOT NULL, pos INTEGER NOT NULL, size INTEGER NOT NULL,
  orig_iid INTEGER, orig_obj INTEGER, orig_pos INTEGER, orig_size INTEGER
);
CREATE UNIQUE INDEX instance_uid ON instance (uid, eid);
CREATE INDEX instance_series ON instance (eid, iid);
CREATE INDEX instance_study ON instance (sid, iid);
CREATE INDEX instance_recent ON instance (pid, iid);

-- The metadata (compressed dicom.Attributes) and the frame table of a version.
CREATE TABLE body (iid INTEGER PRIMARY KEY, attrs BLOB NOT NULL, frames BLOB);

-- A blob, and how many bytes of it belong to instances. At 0 it can be removed.
CREATE TABLE obj (id INTEGER PRIMARY KEY, live INTEGER NOT NULL);
CREATE INDEX obj_dead ON obj (id) WHERE live <= 0;

-- The change feed. at is in microseconds since 1970.
CREATE TABLE chg (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, action INTEGER NOT NULL, pid INTEGER NOT NULL,
  study TEXT NOT NULL, series TEXT NOT NULL, sop TEXT NOT NULL
);
CREATE INDEX chg_at ON chg (at, seq);
