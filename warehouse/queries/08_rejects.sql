-- Why were files and rows left out, and how often?
SELECT corpus, stage, regexp_replace(reason, '[0-9]+', 'N', 'g') AS reason, count(*) AS n, min(path) AS example
FROM reject
GROUP BY ALL
ORDER BY corpus, n DESC, reason;
