-- What is wrong with the data, counted per corpus. Errors stop the training; warnings are shown.
-- Examples quote words and numbers, never the id of a speaker.

CREATE TABLE quality AS
WITH finding AS (
    SELECT 'error' AS severity, s.corpus, 'unknown sex word' AS finding, s.sex_word AS example
    FROM speaker AS s
    WHERE fold(s.sex_word) IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM word AS w WHERE w.domain = 'sex' AND w.raw = fold(s.sex_word))

    UNION ALL
    SELECT 'error', o.corpus, 'unknown attribute', o.attribute
    FROM observation AS o
    WHERE o.attribute IS NULL OR NOT EXISTS (SELECT 1 FROM attribute AS a WHERE a.attribute = o.attribute)

    UNION ALL
    SELECT 'error', o.corpus, 'unknown value of a state', o.attribute || ' = ' || o.value
    FROM observation AS o
    JOIN attribute AS a ON a.attribute = o.attribute AND a.kind = 'state'
    WHERE fold(o.value) NOT IN ('present', 'absent')

    UNION ALL
    SELECT 'error', any_value(corpus), 'person in two splits', NULL
    FROM facts
    WHERE split IS NOT NULL
    GROUP BY person_id
    HAVING count(DISTINCT split) > 1

    UNION ALL
    SELECT 'warn', o.corpus, 'score out of range', o.attribute || ' = ' || o.value_num
    FROM observation AS o
    JOIN scale AS s
        ON s.measures = o.attribute AND (fold(s.instrument) = fold(o.instrument) OR fold(o.instrument) IS NULL)
    JOIN attribute AS a ON a.attribute = o.attribute AND (a.kind = 'scale' OR fold(o.instrument) IS NOT NULL)
    WHERE NOT o.value_num BETWEEN s.low AND s.high OR isnan(o.value_num)

    UNION ALL
    SELECT 'warn', o.corpus, 'number outside the allowed range', o.attribute || ' = ' || o.value_num
    FROM observation AS o
    JOIN attribute AS a ON a.attribute = o.attribute AND a.kind = 'number'
    WHERE NOT o.value_num BETWEEN a.low AND a.high OR isnan(o.value_num)

    UNION ALL
    SELECT 'warn', o.corpus, 'number without a known instrument', o.attribute || ' by ' || coalesce(o.instrument, 'none')
    FROM observation AS o
    JOIN attribute AS a ON a.attribute = o.attribute AND a.kind IN ('state', 'scale')
    WHERE o.value_num IS NOT NULL
        AND NOT EXISTS (
            SELECT 1
            FROM scale AS s
            WHERE s.measures = o.attribute
                AND (fold(s.instrument) = fold(o.instrument) OR (fold(o.instrument) IS NULL AND a.kind = 'scale'))
        )

    UNION ALL
    SELECT 'warn', o.corpus, 'scale without a number', o.attribute || ' = ' || o.value
    FROM observation AS o
    JOIN attribute AS a ON a.attribute = o.attribute AND a.kind = 'scale'
    WHERE o.value_num IS NULL

    UNION ALL
    SELECT 'warn', corpus, 'raters disagree evenly', attribute
    FROM vote
    WHERE present = absent

    UNION ALL
    SELECT 'warn', u.corpus, 'stated state contradicts the score', s.attribute || ' ' || s.value || ', scored ' || b.word
    FROM state AS s
    JOIN banded AS b ON b.utt_id = s.utt_id AND b.attribute = s.attribute AND b.state <> s.value
    JOIN utterance AS u ON u.utt_id = s.utt_id

    UNION ALL
    SELECT 'warn', corpus, 'age outside 0..110', CAST(age AS VARCHAR)
    FROM utterance
    WHERE NOT age BETWEEN 0 AND 110

    UNION ALL
    SELECT 'warn', u.corpus, 'age contradicts the birth year',
        'age ' || u.age || ', born ' || s.birth_year || ', recorded ' || year(u.recorded_on)
    FROM utterance AS u
    JOIN speaker AS s ON s.speaker_id = u.speaker_id
    WHERE floor(u.age) NOT BETWEEN year(u.recorded_on) - s.birth_year - 1 AND year(u.recorded_on) - s.birth_year

    UNION ALL
    SELECT 'warn', o.corpus, 'unknown age range', o.value
    FROM observation AS o
    WHERE o.attribute = 'age_range'
        AND NOT regexp_matches(fold(o.value), '^[0-9]+ ?[-–] ?[0-9]+$')
        AND NOT EXISTS (SELECT 1 FROM word AS w WHERE w.domain = 'age_range' AND w.raw = fold(o.value))

    UNION ALL
    SELECT 'warn', corpus, 'language is not a BCP-47 tag', language
    FROM utterance
    WHERE NOT regexp_full_match(language, '[a-z]{2,3}(-[a-z0-9]{2,8})*')

    UNION ALL
    SELECT 'warn', any_value(corpus), 'person of two sexes', string_agg(DISTINCT sex, ' and ' ORDER BY sex)
    FROM speaker
    GROUP BY person_id
    HAVING count(DISTINCT sex) > 1

    UNION ALL
    SELECT 'warn', s.corpus, 'speaker without an utterance', NULL
    FROM speaker AS s
    ANTI JOIN utterance AS u ON u.speaker_id = s.speaker_id

    UNION ALL
    SELECT 'warn', o.corpus, 'observation of an unknown utterance', o.attribute
    FROM observation AS o
    ANTI JOIN utterance AS u ON u.utt_id = o.utt_id AND u.speaker_id = o.speaker_id
    WHERE o.utt_id IS NOT NULL

    UNION ALL
    SELECT
        'warn', corpus, 'official split cannot be used, so a hash splits the corpus',
        CASE
            WHEN NOT list_contains(list(official_split), 'test') THEN 'it has no test'
            WHEN NOT list_contains(list(official_split), 'train') THEN 'it has no train'
            ELSE 'it has a person on two sides'
        END
    FROM candidate
    WHERE official_splits AND official_split IS NOT NULL
        AND NOT list_contains(getvariable('official_corpora'), corpus)
    GROUP BY corpus

    UNION ALL
    SELECT 'warn', any_value(k.corpus), 'official split not followed', any_value(k.official_split || ' placed in ' || p.split)
    FROM candidate AS k
    JOIN person_split AS p ON p.person_id = k.person_id
    WHERE list_contains(getvariable('official_corpora'), k.corpus) AND k.official_split <> p.split
    GROUP BY k.corpus, k.person_id, k.official_split
)
SELECT severity, corpus, finding, count(*) AS n, min(example) AS example
FROM finding
GROUP BY severity, corpus, finding
ORDER BY severity, corpus, finding;
