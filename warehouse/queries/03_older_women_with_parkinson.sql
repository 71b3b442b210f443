-- Which corpora hold women of 60 or more with Parkinson's disease, in which languages, and how many?
SELECT corpus, language, count(DISTINCT person_id) AS women, count(*) AS utterances
FROM facts
WHERE parkinson = 'present' AND sex = 'female' AND age_low >= 60
GROUP BY corpus, language
ORDER BY women DESC, corpus, language;
