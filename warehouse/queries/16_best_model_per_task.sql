-- Which model is best at each task, how sure is that, and how far does it lie from saying yes at random?
-- Two models whose intervals overlap may still differ: `slap compare` judges both on the same draws of speakers.
SELECT
    task,
    mode,
    arg_max(embedder, macro_f1) AS best,
    round(max(macro_f1), 3) AS macro_f1,
    round(arg_max(macro_f1_low, macro_f1), 3) AS low,
    round(arg_max(macro_f1_high, macro_f1), 3) AS high,
    round(arg_max(prior_random_macro_f1, macro_f1), 3) AS at_random,
    arg_max(n_speakers, macro_f1) AS speakers,
    arg_max(protocol, macro_f1) AS protocol,
    count(*) AS models,
    bool_or(synthetic) AS synthetic
FROM score
WHERE NOT starts_with(embedder, 'confound-')
GROUP BY task, mode
ORDER BY macro_f1 DESC NULLS LAST, task, mode;
