-- What tasks, captions and people ask. `facts` has one wide row an utterance, `fact` one row a fact; unknown is null in
-- the one and the absence of a row in the other. The columns of facts are written out by hand, one for each state,
-- category and scale of warehouse/vocabulary/attributes.csv; tests/test_warehouse.py says which one is missing.

CREATE TABLE person_split AS
SELECT person_id, split, source, stratum
FROM assigned_split
ORDER BY person_id;

CREATE VIEW facts AS
SELECT
    u.utt_id,
    CAST(u.corpus AS VARCHAR) AS corpus,
    u.speaker_id,
    s.person_id,
    p.split,
    u.language,
    u.speech_task,
    s.sex,
    v.age_low,
    v.age_high,
    CAST(v.accent AS VARCHAR) AS accent,
    s.native_language,
    s.country,
    CAST(v.education AS VARCHAR) AS education,
    CAST(v.alcohol AS VARCHAR) AS alcohol,
    CAST(v.medication_state AS VARCHAR) AS medication_state,
    CAST(v.king_stage AS VARCHAR) AS king_stage,
    CAST(v.emotion AS VARCHAR) AS emotion,
    CAST(v.emotion_intensity AS VARCHAR) AS emotion_intensity,
    CAST(v.intelligibility AS VARCHAR) AS intelligibility,
    CAST(v.speech_rate AS VARCHAR) AS speech_rate,
    CAST(v.articulation AS VARCHAR) AS articulation,
    CAST(v.voice_pitch AS VARCHAR) AS voice_pitch,
    CAST(v.voice_onset AS VARCHAR) AS voice_onset,
    CASE c.depression & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS depression,
    CASE c.anxiety & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS anxiety,
    CASE c.insomnia & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS insomnia,
    CASE c.fatigue & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS fatigue,
    CASE c.suicidal_ideation & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS suicidal_ideation,
    CASE c.parkinson & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS parkinson,
    CASE c.alzheimer & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS alzheimer,
    CASE c.cognitive_impairment & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS cognitive_impairment,
    CASE c.als & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS als,
    CASE c.dysarthria & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS dysarthria,
    CASE c.cerebral_palsy & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS cerebral_palsy,
    CASE c.stroke & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS stroke,
    CASE c.down_syndrome & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS down_syndrome,
    CASE c.voice_disorder & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_disorder,
    CASE c.healthy & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS healthy,
    CASE c.voice_severity & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_severity,
    CASE c.voice_roughness & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_roughness,
    CASE c.voice_breathiness & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_breathiness,
    CASE c.voice_strain & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_strain,
    CASE c.voice_asthenia & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_asthenia,
    CASE c.voice_nasality & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_nasality,
    CASE c.voice_hyponasality & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_hyponasality,
    CASE c.voice_weakness & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_weakness,
    CASE c.voice_monotony & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_monotony,
    CASE c.voice_harshness & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_harshness,
    CASE c.voice_pauses & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS voice_pauses,
    CASE c.smoking & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS smoking,
    CASE c.symptoms & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS symptoms,
    CASE c.covid & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS covid,
    CASE c.asthma & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS asthma,
    CASE c.copd & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS copd,
    CASE c.ptsd & 3 WHEN 2 THEN 'present' WHEN 1 THEN 'absent' END AS ptsd,
    v.phq9,
    v.phq8,
    v.gad7,
    v.ais,
    v.mfi_general,
    v.psqi,
    v.moca,
    v.mmse,
    v.wais,
    v.updrs,
    v.hoehn_yahr,
    v.alsfrs_r,
    v.bdi2,
    v.sds,
    v.pcl_c,
    v.vhi,
    v.vhi10,
    v.rsi,
    v.alsfrs_speech,
    v.alsfrs_swallowing,
    v.updrs_speech,
    v.updrs_motor
FROM utterance AS u
JOIN speaker AS s ON s.speaker_id = u.speaker_id
LEFT JOIN person_split AS p ON p.person_id = s.person_id
LEFT JOIN resolved_value AS v ON v.utt_id = u.utt_id
LEFT JOIN resolved_state AS c ON c.utt_id = u.utt_id;

CREATE VIEW fact AS
WITH coded AS (
    FROM (UNPIVOT resolved_state ON COLUMNS(* EXCLUDE (utt_id, speaker_no)) INTO NAME attribute VALUE code)
),
worded AS (
    UNPIVOT (SELECT utt_id, accent, education, alcohol, medication_state, king_stage, emotion, emotion_intensity, intelligibility, speech_rate, articulation, voice_pitch, voice_onset FROM resolved_value)
    ON COLUMNS(* EXCLUDE (utt_id)) INTO NAME attribute VALUE value
)
SELECT u.utt_id, 'sex' AS attribute, s.sex AS value
FROM utterance AS u
JOIN speaker AS s ON s.speaker_id = u.speaker_id
WHERE s.sex IS NOT NULL
UNION ALL
SELECT utt_id, 'language', language FROM utterance WHERE language IS NOT NULL
UNION ALL
SELECT utt_id, 'age', bucket
FROM (
    SELECT
        utt_id,
        -- ages of 16 and 17, and ranges across a bound, are in no bucket
        CASE
            WHEN age_high < 16 THEN 'child'
            WHEN age_low >= 18 AND age_high < 35 THEN 'young'
            WHEN age_low >= 35 AND age_high < 60 THEN 'middle-aged'
            WHEN age_low >= 60 THEN 'older'
        END AS bucket
    FROM resolved_value
)
WHERE bucket IS NOT NULL
UNION ALL
SELECT utt_id, attribute, CAST(value AS VARCHAR) FROM worded
UNION ALL
SELECT utt_id, attribute, CASE code & 3 WHEN 2 THEN 'present' ELSE 'absent' END FROM coded WHERE code & 3 <> 0
UNION ALL
SELECT c.utt_id, c.attribute || '_severity', i.word
FROM coded AS c
JOIN instrument AS i ON i.line = c.code >> 3
WHERE i.word IS NOT NULL;

-- What was measured: the mean over raters at the level that it was observed at (null: not of an utterance or session).
CREATE VIEW measurement AS
SELECT o.corpus, o.speaker_id, o.session_id, o.utt_id, o.attribute, s.instrument, avg(o.value_num) AS value, count(*) AS n
FROM observation AS o
JOIN attribute AS a ON a.attribute = o.attribute
JOIN (
    SELECT instrument, measures, min(low) AS low, max(high) AS high
    FROM instrument
    GROUP BY instrument, measures
) AS s
    ON s.measures = o.attribute
    AND (lower(s.instrument) = lower(trim(o.instrument)) OR (o.instrument IS NULL AND a.kind = 'scale'))
WHERE o.value_num BETWEEN s.low AND s.high
GROUP BY ALL;
