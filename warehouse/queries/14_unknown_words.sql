-- Which words of the owners does no table know, and how often are they used? (Add rows to vocabulary/words.csv, or leave them.)
SELECT domain, raw, sum(n) AS rows, string_agg(DISTINCT corpus, ', ' ORDER BY corpus) AS corpora, any_value(kept) AS kept
FROM unknown_word
GROUP BY domain, raw
ORDER BY rows DESC, domain, raw
LIMIT 50;
