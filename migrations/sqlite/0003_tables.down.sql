DROP TABLE prices;
ALTER TABLE error_logs DROP COLUMN model_requested;
ALTER TABLE request_logs DROP COLUMN cost;
