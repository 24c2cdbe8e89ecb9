-- The words of the names of a study, for fuzzy matching: field is 0 for the
-- patient and 1 for the referring physician. They change with the row of the study.
CREATE TABLE word (field INTEGER NOT NULL, pid INTEGER NOT NULL, word TEXT NOT NULL, sid INTEGER NOT NULL, PRIMARY KEY (field, pid, word, sid)) WITHOUT ROWID;
CREATE INDEX word_of ON word (sid, field, word);
-- Which studies have a modality, and which modalities a study.
CREATE INDEX series_modality_study ON series (pid, modality, sid);
CREATE INDEX series_study_modality ON series (sid, modality);

INSERT INTO word (field, pid, word, sid)
WITH RECURSIVE w (field, pid, sid, word, rest) AS (
  SELECT 0, pid, sid, '', replace(replace(replace(replace(patient_name, '^', ' '), '=', ' '), '-', ' '), ',', ' ') || ' ' FROM study WHERE patient_name IS NOT NULL
  UNION ALL
  SELECT 1, pid, sid, '', replace(replace(replace(replace(referring, '^', ' '), '=', ' '), '-', ' '), ',', ' ') || ' ' FROM study WHERE referring IS NOT NULL
  UNION ALL
  SELECT field, pid, sid, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1) FROM w WHERE rest <> ''
)
SELECT DISTINCT field, pid, word, sid FROM w WHERE word <> '';
