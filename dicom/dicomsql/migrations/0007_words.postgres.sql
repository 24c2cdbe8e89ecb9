-- As in 0007_words.sql.
CREATE TABLE word (field BIGINT NOT NULL, pid BIGINT NOT NULL, word TEXT NOT NULL, sid BIGINT NOT NULL, PRIMARY KEY (field, pid, word, sid));
CREATE INDEX word_of ON word (sid, field, word);
CREATE INDEX series_modality_study ON series (pid, modality, sid);
CREATE INDEX series_study_modality ON series (sid, modality);

INSERT INTO word (field, pid, word, sid)
SELECT DISTINCT n.field, n.pid, x.word, n.sid
FROM (SELECT 0 AS field, pid, sid, patient_name AS name FROM study UNION ALL SELECT 1, pid, sid, referring FROM study) n
CROSS JOIN LATERAL unnest(string_to_array(translate(n.name, '^=-,', '    '), ' ')) AS x (word)
WHERE x.word <> '';
