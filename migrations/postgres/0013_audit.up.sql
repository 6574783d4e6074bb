-- Lines of the audit log of a time.
CREATE INDEX idx_audit_log_timestamp ON audit_log (timestamp);
