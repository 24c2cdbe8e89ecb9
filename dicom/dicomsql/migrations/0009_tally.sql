-- How many instances of a partition have a key from block * 1024 on, to the next
-- block: a page far behind in the list of all instances is found by adding these up.
CREATE TABLE tally (pid INTEGER NOT NULL, block INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (pid, block)) WITHOUT ROWID;
INSERT INTO tally (pid, block, n) SELECT pid, iid / 1024, count(*) FROM instance GROUP BY pid, iid / 1024;

-- The number stands in the index of the newest instances, so that a search for it
-- alone need not read a row for each of them.
DROP INDEX instance_recent;
CREATE INDEX instance_recent ON instance (pid, iid, number);
