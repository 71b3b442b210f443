-- Which corpora hold less than their sample rate promises: telephone speech, or an MP3 that was stored as WAV?
SELECT
    corpus,
    native_rate,
    count(*) AS recordings,
    round(sum(seconds) / 3600, 1) AS hours,
    CAST(median(bandwidth) AS INTEGER) AS median_bandwidth_hz,
    round(100 * avg(CAST(bandwidth < 0.4 * least(native_rate, 16000) AS INTEGER)), 1) AS percent_below,
    round(avg(level), 1) AS level_dbfs,
    round(100 * avg(clipping), 3) AS percent_clipped,
    round(100 * avg(speech), 1) AS percent_speech
FROM recording
GROUP BY ALL
ORDER BY percent_below DESC NULLS LAST, corpus, native_rate;
