-- Extended query tags, and the values of those who have one, by the key of the
-- level (sid, eid or iid).
CREATE TABLE xtag (
  xid INTEGER PRIMARY KEY, tag INTEGER NOT NULL UNIQUE, vr TEXT NOT NULL, creator TEXT NOT NULL, level INTEGER NOT NULL,
  status INTEGER NOT NULL, disabled INTEGER NOT NULL, operation TEXT NOT NULL
);
CREATE TABLE xvalue (xid INTEGER NOT NULL, k INTEGER NOT NULL, v TEXT NOT NULL, PRIMARY KEY (xid, k)) WITHOUT ROWID;
CREATE INDEX xvalue_v ON xvalue (xid, v, k);
CREATE TABLE xerror (
  xid INTEGER NOT NULL, iid INTEGER NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL, sop TEXT NOT NULL,
  at INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (xid, iid)
) WITHOUT ROWID;

-- Operations: work that outlives its request. input, state and result are JSON texts
-- of the kind of operation; state is how far it has come.
CREATE TABLE op (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, status INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  percent INTEGER NOT NULL, input TEXT NOT NULL, state TEXT NOT NULL, result TEXT NOT NULL
);
CREATE INDEX op_open ON op (status, created);
