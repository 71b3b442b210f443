-- Of which tasks can the label be told without hearing speech: from the recording, from sex and age, from silence?
-- chance_p is how likely a guess does as well; beside it what tells the label, and the best model that listens.
WITH model AS (
    SELECT task, arg_max(embedder, auroc) AS embedder, max(auroc) AS auroc
    FROM score
    WHERE mode = 'probe' AND NOT starts_with(embedder, 'confound-')
    GROUP BY task
)
SELECT
    m.task,
    substr(c.embedder, length('confound-') + 1) AS confound,
    round(c.auroc, 3) AS confound_auroc,
    round(c.auroc_low, 3) AS low,
    c.chance_p,
    c.told_by,
    m.embedder AS best_model,
    round(m.auroc, 3) AS model_auroc
FROM model AS m
LEFT JOIN score AS c ON c.task = m.task AND c.mode = 'probe' AND starts_with(c.embedder, 'confound-')
ORDER BY c.auroc DESC NULLS LAST, m.task;
