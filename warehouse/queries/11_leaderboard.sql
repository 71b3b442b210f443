-- Which embedder does best: mean macro-F1 over the tasks of the paper, by group, zero-shot and by probe?
-- A mean is null while one of its tasks is missing.
SELECT
    mode,
    embedder,
    task_group,
    count(macro_f1) || '/' || count(*) AS complete,
    CASE WHEN count(macro_f1) = count(*) THEN round(100 * avg(macro_f1), 1) END AS macro_f1,
    CASE WHEN count(f1) = count(*) THEN round(100 * avg(f1), 1) END AS f1,
    round(100 * avg(always_yes_f1), 1) AS always_yes_f1,
    bool_or(synthetic) AS synthetic
FROM score
WHERE track = 'paper'
GROUP BY mode, embedder, task_group
ORDER BY mode, task_group, macro_f1 DESC NULLS LAST, embedder;
