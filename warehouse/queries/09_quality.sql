-- What is wrong with the data, the worst first?
SELECT severity, corpus, finding, n, example
FROM quality
ORDER BY severity, n DESC, corpus, finding;
