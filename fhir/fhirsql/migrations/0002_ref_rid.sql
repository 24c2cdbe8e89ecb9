CREATE INDEX ref_rid ON ref (rid, p);
