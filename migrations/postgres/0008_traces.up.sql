-- What is known of a finished request beside its numbers, and indices for lists that are sorted by time.

-- `tags` has a comma around each tag; `trace` is a JSON object.
ALTER TABLE request_logs ADD COLUMN session VARCHAR(255);
ALTER TABLE request_logs ADD COLUMN tags TEXT;
ALTER TABLE request_logs ADD COLUMN trace TEXT;

DROP INDEX IF EXISTS idx_request_logs_provider_name;
DROP INDEX IF EXISTS idx_request_logs_model_requested;
DROP INDEX IF EXISTS idx_request_logs_credential_name;
DROP INDEX IF EXISTS idx_request_logs_status_code;
CREATE INDEX idx_request_logs_provider_name ON request_logs (provider_name, timestamp);
CREATE INDEX idx_request_logs_model_requested ON request_logs (model_requested, timestamp);
CREATE INDEX idx_request_logs_credential_name ON request_logs (credential_name, timestamp);
CREATE INDEX idx_request_logs_status_code ON request_logs (status_code, timestamp);
CREATE INDEX idx_request_logs_session ON request_logs (session, timestamp) WHERE session IS NOT NULL;
CREATE INDEX idx_request_logs_tags ON request_logs (timestamp, tags) WHERE tags IS NOT NULL;
CREATE INDEX idx_request_logs_error_message ON request_logs (timestamp) WHERE error_message IS NOT NULL;
CREATE INDEX idx_request_logs_failed ON request_logs (timestamp) WHERE (status_code >= 400 OR error_category IS NOT NULL);

-- Sums of finished requests by the hour, for overviews. `hour` is its first second since 1970; `name` says what is summed up.
CREATE TABLE log_hours (
    hour BIGINT NOT NULL,
    name TEXT NOT NULL,
    n    BIGINT NOT NULL,
    PRIMARY KEY (hour, name)
);

INSERT INTO log_hours (hour, name, n)
SELECT hour, name, n FROM (
    SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT) AS hour, 'requests' AS name, count(*) AS n FROM request_logs GROUP BY 1
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'errors', count(*) FROM request_logs WHERE (status_code >= 400 OR error_category IS NOT NULL) GROUP BY 1
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'input_tokens', CAST(sum(input_tokens) AS BIGINT) FROM request_logs GROUP BY 1
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'output_tokens', CAST(sum(output_tokens) AS BIGINT) FROM request_logs GROUP BY 1
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'cost', CAST(sum(cost) AS BIGINT) FROM request_logs WHERE cost IS NOT NULL GROUP BY 1
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'provider_requests:' || provider_name, count(*) FROM request_logs
        WHERE provider_name IS NOT NULL GROUP BY 1, 2
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'provider_errors:' || provider_name, count(*) FROM request_logs
        WHERE provider_name IS NOT NULL AND (status_code >= 400 OR error_category IS NOT NULL) GROUP BY 1, 2
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'duration_ms:' || (CASE WHEN total_duration_ms <= 5 THEN 5 WHEN total_duration_ms <= 10 THEN 10 WHEN total_duration_ms <= 14 THEN 14 WHEN total_duration_ms <= 20 THEN 20
             WHEN total_duration_ms <= 28 THEN 28 WHEN total_duration_ms <= 40 THEN 40 WHEN total_duration_ms <= 57 THEN 57 WHEN total_duration_ms <= 80 THEN 80
             WHEN total_duration_ms <= 113 THEN 113 WHEN total_duration_ms <= 160 THEN 160 WHEN total_duration_ms <= 226 THEN 226 WHEN total_duration_ms <= 320 THEN 320
             WHEN total_duration_ms <= 453 THEN 453 WHEN total_duration_ms <= 640 THEN 640 WHEN total_duration_ms <= 905 THEN 905 WHEN total_duration_ms <= 1280 THEN 1280
             WHEN total_duration_ms <= 1810 THEN 1810 WHEN total_duration_ms <= 2560 THEN 2560 WHEN total_duration_ms <= 3620 THEN 3620 WHEN total_duration_ms <= 5120 THEN 5120
             WHEN total_duration_ms <= 7241 THEN 7241 WHEN total_duration_ms <= 10240 THEN 10240 WHEN total_duration_ms <= 14482 THEN 14482 WHEN total_duration_ms <= 20480 THEN 20480
             WHEN total_duration_ms <= 28963 THEN 28963 WHEN total_duration_ms <= 40960 THEN 40960 WHEN total_duration_ms <= 57926 THEN 57926 WHEN total_duration_ms <= 81920 THEN 81920
             WHEN total_duration_ms <= 115852 THEN 115852 WHEN total_duration_ms <= 163840 THEN 163840 WHEN total_duration_ms <= 327680 THEN 327680 WHEN total_duration_ms <= 655360 THEN 655360
             ELSE 9223372036854775807 END), count(*) FROM request_logs
        WHERE total_duration_ms IS NOT NULL GROUP BY 1, 2
    UNION ALL SELECT CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT), 'ttft_ms:' || (CASE WHEN ttft_ms <= 5 THEN 5 WHEN ttft_ms <= 10 THEN 10 WHEN ttft_ms <= 14 THEN 14 WHEN ttft_ms <= 20 THEN 20
             WHEN ttft_ms <= 28 THEN 28 WHEN ttft_ms <= 40 THEN 40 WHEN ttft_ms <= 57 THEN 57 WHEN ttft_ms <= 80 THEN 80
             WHEN ttft_ms <= 113 THEN 113 WHEN ttft_ms <= 160 THEN 160 WHEN ttft_ms <= 226 THEN 226 WHEN ttft_ms <= 320 THEN 320
             WHEN ttft_ms <= 453 THEN 453 WHEN ttft_ms <= 640 THEN 640 WHEN ttft_ms <= 905 THEN 905 WHEN ttft_ms <= 1280 THEN 1280
             WHEN ttft_ms <= 1810 THEN 1810 WHEN ttft_ms <= 2560 THEN 2560 WHEN ttft_ms <= 3620 THEN 3620 WHEN ttft_ms <= 5120 THEN 5120
             WHEN ttft_ms <= 7241 THEN 7241 WHEN ttft_ms <= 10240 THEN 10240 WHEN ttft_ms <= 14482 THEN 14482 WHEN ttft_ms <= 20480 THEN 20480
             WHEN ttft_ms <= 28963 THEN 28963 WHEN ttft_ms <= 40960 THEN 40960 WHEN ttft_ms <= 57926 THEN 57926 WHEN ttft_ms <= 81920 THEN 81920
             WHEN ttft_ms <= 115852 THEN 115852 WHEN ttft_ms <= 163840 THEN 163840 WHEN ttft_ms <= 327680 THEN 327680 WHEN ttft_ms <= 655360 THEN 655360
             ELSE 9223372036854775807 END), count(*) FROM request_logs
        WHERE ttft_ms IS NOT NULL GROUP BY 1, 2
) AS sums WHERE n <> 0;
