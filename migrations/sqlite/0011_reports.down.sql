DROP TRIGGER trg_spend_days_insert;
DROP TRIGGER trg_spend_days_update;
DROP INDEX IF EXISTS idx_spend_days_credential;
DROP TABLE spend_sums;
