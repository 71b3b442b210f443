-- The benchmark's scores. Each is one JSON file that the harness writes; the view reads the folder anew each
-- time, so that a new score is seen without a build, and an empty folder is an empty table.
-- score_file (the folder's files as text) is made by pipelines/warehouse.py, which knows where the folder is.

CREATE VIEW score AS
WITH parsed AS (
    SELECT filename AS file, TRY_CAST(content AS JSON) AS document
    FROM score_file
)
SELECT
    document ->> '$.embedder' AS embedder,
    document ->> '$.fingerprint' AS fingerprint,
    document ->> '$.task' AS task,
    document ->> '$.group' AS task_group,
    document ->> '$.track' AS track,
    document ->> '$.corpus' AS corpus,
    document ->> '$.mode' AS mode,
    document ->> '$.status' AS status,
    document ->> '$.reason' AS reason,
    TRY_CAST(document ->> '$.synthetic' AS BOOLEAN) AS synthetic,
    TRY_CAST(document ->> '$.ood_corpus' AS BOOLEAN) AS ood_corpus,
    TRY_CAST(document ->> '$.ood_language' AS BOOLEAN) AS ood_language,
    TRY_CAST(document ->> '$.ood_label' AS BOOLEAN) AS ood_label,
    TRY_CAST(document ->> '$.f1' AS DOUBLE) AS f1,
    TRY_CAST(document ->> '$.f1_low' AS DOUBLE) AS f1_low,
    TRY_CAST(document ->> '$.f1_high' AS DOUBLE) AS f1_high,
    TRY_CAST(document ->> '$.macro_f1' AS DOUBLE) AS macro_f1,
    TRY_CAST(document ->> '$.macro_f1_low' AS DOUBLE) AS macro_f1_low,
    TRY_CAST(document ->> '$.macro_f1_high' AS DOUBLE) AS macro_f1_high,
    TRY_CAST(document ->> '$.balanced_accuracy' AS DOUBLE) AS balanced_accuracy,
    TRY_CAST(document ->> '$.auroc' AS DOUBLE) AS auroc,
    TRY_CAST(document ->> '$.predicted_positive_rate' AS DOUBLE) AS predicted_positive_rate,
    TRY_CAST(document ->> '$.always_yes_f1' AS DOUBLE) AS always_yes_f1,
    TRY_CAST(document ->> '$.always_yes_macro_f1' AS DOUBLE) AS always_yes_macro_f1,
    TRY_CAST(document ->> '$.n' AS BIGINT) AS n,
    TRY_CAST(document ->> '$.n_speakers' AS BIGINT) AS n_speakers,
    TRY_CAST(document ->> '$.n_train_speakers' AS BIGINT) AS n_train_speakers,
    TRY_CAST(document ->> '$.prevalence' AS DOUBLE) AS prevalence,
    TRY_CAST(document ->> '$.prompt_min' AS DOUBLE) AS prompt_min,
    TRY_CAST(document ->> '$.prompt_max' AS DOUBLE) AS prompt_max,
    document,
    file
FROM parsed;
