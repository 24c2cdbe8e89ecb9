CREATE INDEX tok_rid ON tok (rid, p, c, s);
CREATE INDEX res_has ON res (t, has, rid);
