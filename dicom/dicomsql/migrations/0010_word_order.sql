-- SQLite orders words by their bytes: there is nothing to do.
SELECT 1 FROM word LIMIT 0;
