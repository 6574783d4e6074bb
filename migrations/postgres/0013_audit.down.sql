DROP INDEX IF EXISTS idx_audit_log_timestamp;
