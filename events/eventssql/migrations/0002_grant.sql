-- What a CloudEvents webhook has granted: to whom, and how many requests a minute (0: any number).
ALTER TABLE sub ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE sub ADD COLUMN rate INTEGER NOT NULL DEFAULT 0;
