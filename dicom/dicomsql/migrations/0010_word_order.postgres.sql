-- Words are found by ranges, which need the order of their bytes whatever the collation of the database is.
ALTER TABLE word ALTER COLUMN word TYPE TEXT COLLATE "C";
