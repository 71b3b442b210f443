-- One wide row an utterance: what tasks, captions and people ask. The state and scale columns are those of
-- warehouse/vocabulary/attributes.csv, written out by hand; tests/test_warehouse.py says which one is missing.

CREATE TABLE person_split AS
SELECT person_id, split, source, stratum
FROM assigned_split
ORDER BY person_id;

CREATE VIEW facts AS
WITH said AS (
    SELECT
        utt_id,
        max(value) FILTER (attribute = 'accent') AS accent,
        max(value) FILTER (attribute = 'depression') AS depression,
        max(value) FILTER (attribute = 'anxiety') AS anxiety,
        max(value) FILTER (attribute = 'insomnia') AS insomnia,
        max(value) FILTER (attribute = 'fatigue') AS fatigue,
        max(value) FILTER (attribute = 'suicidal_ideation') AS suicidal_ideation,
        max(value) FILTER (attribute = 'parkinson') AS parkinson,
        max(value) FILTER (attribute = 'alzheimer') AS alzheimer,
        max(value) FILTER (attribute = 'cognitive_impairment') AS cognitive_impairment,
        max(value) FILTER (attribute = 'als') AS als,
        max(value) FILTER (attribute = 'dysarthria') AS dysarthria,
        max(value) FILTER (attribute = 'cerebral_palsy') AS cerebral_palsy,
        max(value) FILTER (attribute = 'stroke') AS stroke,
        max(value) FILTER (attribute = 'down_syndrome') AS down_syndrome,
        max(value) FILTER (attribute = 'voice_disorder') AS voice_disorder,
        max(value) FILTER (attribute = 'healthy') AS healthy,
        max(value) FILTER (attribute = 'voice_severity') AS voice_severity,
        max(value) FILTER (attribute = 'voice_roughness') AS voice_roughness,
        max(value) FILTER (attribute = 'voice_breathiness') AS voice_breathiness,
        max(value) FILTER (attribute = 'voice_strain') AS voice_strain,
        max(value) FILTER (attribute = 'voice_asthenia') AS voice_asthenia,
        max(value) FILTER (attribute = 'voice_nasality') AS voice_nasality,
        max(value) FILTER (attribute = 'voice_hyponasality') AS voice_hyponasality,
        max(value) FILTER (attribute = 'voice_weakness') AS voice_weakness,
        max(value) FILTER (attribute = 'voice_monotony') AS voice_monotony,
        max(value) FILTER (attribute = 'voice_harshness') AS voice_harshness,
        max(value) FILTER (attribute = 'voice_pauses') AS voice_pauses,
        max(value) FILTER (attribute = 'covid') AS covid,
        max(value) FILTER (attribute = 'asthma') AS asthma,
        max(value) FILTER (attribute = 'copd') AS copd,
        max(value) FILTER (attribute = 'ptsd') AS ptsd,
        max(value) FILTER (attribute = 'smoking') AS smoking,
        max(value) FILTER (attribute = 'emotion') AS emotion,
        max(value) FILTER (attribute = 'emotion_intensity') AS emotion_intensity,
        max(value) FILTER (attribute = 'intelligibility') AS intelligibility,
        max(value) FILTER (attribute = 'education') AS education,
        max(value) FILTER (attribute = 'alcohol') AS alcohol,
        max(value) FILTER (attribute = 'medication_state') AS medication_state,
        max(value) FILTER (attribute = 'king_stage') AS king_stage,
        max(value) FILTER (attribute = 'symptoms') AS symptoms
    FROM fact
    GROUP BY utt_id
),
measured AS (
    SELECT
        utt_id,
        max(value) FILTER (attribute = 'phq9') AS phq9,
        max(value) FILTER (attribute = 'phq8') AS phq8,
        max(value) FILTER (attribute = 'gad7') AS gad7,
        max(value) FILTER (attribute = 'ais') AS ais,
        max(value) FILTER (attribute = 'mfi_general') AS mfi_general,
        max(value) FILTER (attribute = 'psqi') AS psqi,
        max(value) FILTER (attribute = 'moca') AS moca,
        max(value) FILTER (attribute = 'mmse') AS mmse,
        max(value) FILTER (attribute = 'wais') AS wais,
        max(value) FILTER (attribute = 'updrs') AS updrs,
        max(value) FILTER (attribute = 'hoehn_yahr') AS hoehn_yahr,
        max(value) FILTER (attribute = 'alsfrs_r') AS alsfrs_r,
        max(value) FILTER (attribute = 'alsfrs_speech') AS alsfrs_speech,
        max(value) FILTER (attribute = 'alsfrs_swallowing') AS alsfrs_swallowing,
        max(value) FILTER (attribute = 'updrs_speech') AS updrs_speech,
        max(value) FILTER (attribute = 'updrs_motor') AS updrs_motor,
        max(value) FILTER (attribute = 'bdi2') AS bdi2,
        max(value) FILTER (attribute = 'sds') AS sds,
        max(value) FILTER (attribute = 'pcl_c') AS pcl_c,
        max(value) FILTER (attribute = 'vhi') AS vhi,
        max(value) FILTER (attribute = 'vhi10') AS vhi10,
        max(value) FILTER (attribute = 'rsi') AS rsi
    FROM measurement
    GROUP BY utt_id
)
SELECT
    u.utt_id,
    u.corpus,
    u.speaker_id,
    s.person_id,
    p.split,
    u.language,
    u.speech_task,
    s.sex,
    a.age_low,
    a.age_high,
    said.accent,
    s.native_language,
    s.country,
    said.* EXCLUDE (utt_id, accent),
    measured.* EXCLUDE (utt_id)
FROM utterance AS u
JOIN speaker AS s ON s.speaker_id = u.speaker_id
LEFT JOIN person_split AS p ON p.person_id = s.person_id
LEFT JOIN age AS a ON a.utt_id = u.utt_id
LEFT JOIN said ON said.utt_id = u.utt_id
LEFT JOIN measured ON measured.utt_id = u.utt_id;
