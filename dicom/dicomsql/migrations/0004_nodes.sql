-- Numbers of blobs that a process reserved, a block in each row: when it dies, those
-- that have no row in obj may have a blob that nobody refers to. at is when it was
-- last heard of. A row of obj whose live is far below 0 is condemned: nothing may
-- be put into its blob any more.
CREATE TABLE reserve (first INTEGER PRIMARY KEY, node TEXT NOT NULL, at INTEGER NOT NULL);
