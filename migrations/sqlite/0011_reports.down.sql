DROP INDEX IF EXISTS idx_spend_days_credential;
DROP TABLE spend_sums;
