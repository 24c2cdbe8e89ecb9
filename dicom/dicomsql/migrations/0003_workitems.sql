-- Work items (Unified Procedure Steps). attrs is a compressed dicom.Attributes; tx
-- is the Transaction UID of the owner.
CREATE TABLE workitem (
  wid INTEGER PRIMARY KEY, pid INTEGER NOT NULL, uid TEXT NOT NULL, state TEXT NOT NULL, tx TEXT NOT NULL,
  version INTEGER NOT NULL, attrs BLOB NOT NULL
);
CREATE UNIQUE INDEX workitem_uid ON workitem (uid, pid);
CREATE INDEX workitem_recent ON workitem (pid, wid);

-- What work items are found by: k is an index into dicom.WorkitemKeys.
CREATE TABLE wvalue (k INTEGER NOT NULL, v TEXT NOT NULL, wid INTEGER NOT NULL, PRIMARY KEY (k, v, wid)) WITHOUT ROWID;
CREATE INDEX wvalue_of ON wvalue (wid, k, v);
