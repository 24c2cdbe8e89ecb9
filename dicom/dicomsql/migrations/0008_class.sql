-- Instances of a class, newest first.
CREATE INDEX instance_class ON instance (pid, class, iid);
