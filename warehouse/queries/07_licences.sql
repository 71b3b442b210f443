-- Which corpora may not be used today, or not for long, and which may not be passed on?
SELECT
    corpus,
    coalesce(licence, 'none given') AS licence,
    access,
    CASE
        WHEN licence IS NULL THEN 'refused: no licence'
        WHEN NOT may_train THEN 'refused: no training'
        WHEN expires < current_date THEN 'refused: expired'
        WHEN expires < current_date + INTERVAL 90 DAY THEN 'expires soon'
        ELSE 'may be used'
    END AS today,
    expires,
    may_redistribute,
    consent
FROM corpus
ORDER BY today DESC, corpus;
