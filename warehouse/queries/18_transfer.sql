-- Does what a probe learned on one corpus hold on another? A row is the corpus it learned on, a column the one it is asked.
-- The same corpus twice is the usual probe; much less elsewhere says that it learned the corpus, not the condition.
PIVOT (
    SELECT name, embedder, train_corpus, test_corpus, round(macro_f1, 3) AS macro_f1
    FROM transfer
)
ON test_corpus
USING any_value(macro_f1)
GROUP BY name, embedder, train_corpus
ORDER BY name, embedder, train_corpus;
