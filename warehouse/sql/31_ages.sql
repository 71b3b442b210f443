-- Age at the recording as bounds in years: an exact age gives both equal, a birth year with the year of the
-- recording gives one year of room, an age range gives the owner's bounds. The first of the three that is known.

CREATE TABLE age AS
WITH ranged AS (
    SELECT
        r.utt_id,
        coalesce(w.low, CAST(nullif(regexp_extract(r.value, '^([0-9]+) ?[-–] ?([0-9]+)$', 1), '') AS DOUBLE)) AS low,
        coalesce(w.high, CAST(nullif(regexp_extract(r.value, '^([0-9]+) ?[-–] ?([0-9]+)$', 2), '') AS DOUBLE)) AS high
    FROM reading AS r
    LEFT JOIN word AS w ON w.domain = 'age_range' AND w.raw = r.value
    WHERE r.attribute = 'age_range'
    QUALIFY row_number() OVER (PARTITION BY r.utt_id ORDER BY r.level DESC, r.value) = 1
),
known AS (
    SELECT
        u.utt_id,
        if(u.age BETWEEN 0 AND 110, u.age, NULL) AS exact,
        if(
            year(u.recorded_on) - s.birth_year BETWEEN 1 AND 110, CAST(year(u.recorded_on) - s.birth_year AS DOUBLE), NULL
        ) AS turned,
        ranged.low,
        ranged.high
    FROM utterance AS u
    JOIN speaker AS s ON s.speaker_id = u.speaker_id
    LEFT JOIN ranged ON ranged.utt_id = u.utt_id AND ranged.low <= ranged.high AND ranged.high <= 110
)
SELECT
    utt_id,
    coalesce(exact, turned - 1, low) AS age_low,
    coalesce(exact, turned, high) AS age_high
FROM known
WHERE coalesce(exact, turned, high) IS NOT NULL
ORDER BY utt_id;
