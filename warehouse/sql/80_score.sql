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
    TRY_CAST(document ->> '$.auroc_low' AS DOUBLE) AS auroc_low,
    TRY_CAST(document ->> '$.auroc_high' AS DOUBLE) AS auroc_high,
    TRY_CAST(document ->> '$.brier' AS DOUBLE) AS brier,
    TRY_CAST(document ->> '$.calibration_error' AS DOUBLE) AS calibration_error,
    TRY_CAST(document ->> '$.predicted_positive_rate' AS DOUBLE) AS predicted_positive_rate,
    TRY_CAST(document ->> '$.always_yes_f1' AS DOUBLE) AS always_yes_f1,
    TRY_CAST(document ->> '$.always_yes_macro_f1' AS DOUBLE) AS always_yes_macro_f1,
    TRY_CAST(document ->> '$.prior_random_f1' AS DOUBLE) AS prior_random_f1,
    TRY_CAST(document ->> '$.prior_random_macro_f1' AS DOUBLE) AS prior_random_macro_f1,
    document ->> '$.protocol' AS protocol,
    TRY_CAST(document ->> '$.repeats' AS BIGINT) AS repeats,
    TRY_CAST(document ->> '$.n' AS BIGINT) AS n,
    TRY_CAST(document ->> '$.n_speakers' AS BIGINT) AS n_speakers,
    TRY_CAST(document ->> '$.n_train_speakers' AS BIGINT) AS n_train_speakers,
    TRY_CAST(document ->> '$.n_without_audio' AS BIGINT) AS n_without_audio,
    TRY_CAST(document ->> '$.n_too_weak' AS BIGINT) AS n_too_weak,
    TRY_CAST(document ->> '$.prevalence' AS DOUBLE) AS prevalence,
    TRY_CAST(document ->> '$.prompt_min' AS DOUBLE) AS prompt_min,
    TRY_CAST(document ->> '$.prompt_max' AS DOUBLE) AS prompt_max,
    TRY_CAST(document ->> '$.n_prompts' AS BIGINT) AS n_prompts,
    document ->> '$.prompt_language' AS prompt_language,
    TRY_CAST(document ->> '$.best_prompt' AS BIGINT) AS best_prompt,
    TRY_CAST(document ->> '$.best_prompt_macro_f1' AS DOUBLE) AS best_prompt_macro_f1,
    TRY_CAST(document ->> '$.best_prompt_macro_f1_low' AS DOUBLE) AS best_prompt_macro_f1_low,
    TRY_CAST(document ->> '$.best_prompt_macro_f1_high' AS DOUBLE) AS best_prompt_macro_f1_high,
    TRY_CAST(document -> '$.seeds' AS DOUBLE[]) AS seeds,
    document ->> '$.seeds_of' AS seeds_of,
    TRY_CAST(
        document -> '$.learning_curve' AS STRUCT(n_speakers DOUBLE, macro_f1 DOUBLE, low DOUBLE, high DOUBLE)[]
    ) AS learning_curve,
    TRY_CAST(document ->> '$.chance_p' AS DOUBLE) AS chance_p,
    TRY_CAST(document -> '$.told_by' AS MAP(VARCHAR, DOUBLE)) AS told_by,
    document ->> '$.key' AS key,
    TRY_CAST(document -> '$.hashes' AS MAP(VARCHAR, VARCHAR)) AS hashes,
    document,
    file
FROM parsed;

-- A probe that learned on one corpus and is judged on another with the same label; the harness writes one Parquet file
-- an embedder. transfer_file is made by pipelines/warehouse.py; it has no row where there is no file yet.

CREATE VIEW transfer AS
SELECT
    parse_filename(parse_dirpath(filename)) AS embedder,
    name,
    label,
    train_corpus,
    test_corpus,
    status,
    reason,
    f1,
    macro_f1,
    macro_f1_low,
    macro_f1_high,
    auroc,
    n_train_speakers,
    n_left_out,
    n_speakers,
    prevalence,
    key,
    filename AS file
FROM transfer_file;
