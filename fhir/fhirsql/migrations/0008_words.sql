CREATE VIRTUAL TABLE fts USING fts5(t, c, content='', contentless_delete=1, detail=column, tokenize='ascii');
CREATE VIEW ftv AS SELECT rowid AS rid, fts AS m FROM fts;
