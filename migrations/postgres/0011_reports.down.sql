DROP INDEX IF EXISTS idx_request_logs_tag;
DROP INDEX IF EXISTS idx_request_logs_tags;
CREATE INDEX idx_request_logs_tags ON request_logs (timestamp, tags) WHERE tags IS NOT NULL;
DROP INDEX IF EXISTS idx_spend_days_credential;
DROP TABLE spend_sums;
