-- dead counts the bytes of a blob whose instances are gone. A blob with much of it is
-- compacted: what is left is found by the indexes and moved elsewhere.
ALTER TABLE obj ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
CREATE INDEX obj_sparse ON obj (id) WHERE live > 0 AND dead > 3 * live;
CREATE INDEX instance_obj ON instance (obj, pos);
CREATE INDEX instance_orig ON instance (orig_obj, orig_pos) WHERE orig_obj IS NOT NULL;
