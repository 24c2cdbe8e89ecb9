CREATE INDEX tok_rid ON tok (rid, p);
CREATE INDEX res_has ON res (t, has);
