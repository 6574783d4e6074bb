-- Durations by the classes of today: whole milliseconds up to 3, and finer ones above 160 s. Of hours
-- whose rows were removed nothing is known of them any more.

DELETE FROM log_hours WHERE name LIKE 'duration_ms:%' OR name LIKE 'ttft_ms:%';

INSERT INTO log_hours (hour, name, n)
WITH bounds (bound) AS (
    VALUES (0), (1), (2), (3), (5), (7), (10), (14), (20), (28), (40), (57), (80), (113), (160),
           (226), (320), (453), (640), (905), (1280), (1810), (2560), (3620), (5120), (7241),
           (10240), (14482), (20480), (28963), (40960), (57926), (81920), (115852), (163840),
           (231705), (327680), (463410), (655360), (9223372036854775807)
), classes AS (
    SELECT hour, 'duration_ms:' AS name, (SELECT min(bound) FROM bounds WHERE bound >= ms) AS class, n
    FROM (SELECT timestamp / 3600000000 * 3600 AS hour, total_duration_ms AS ms, count(*) AS n
        FROM request_logs WHERE total_duration_ms IS NOT NULL GROUP BY 1, 2) AS duration_ms
    UNION ALL
    SELECT hour, 'ttft_ms:' AS name, (SELECT min(bound) FROM bounds WHERE bound >= ms) AS class, n
    FROM (SELECT timestamp / 3600000000 * 3600 AS hour, ttft_ms AS ms, count(*) AS n
        FROM request_logs WHERE ttft_ms IS NOT NULL GROUP BY 1, 2) AS ttft_ms
)
SELECT hour, name || class, CAST(sum(n) AS BIGINT) FROM classes GROUP BY hour, name, class;
