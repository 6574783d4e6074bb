-- Searches of the audit log go through what they look at, in the order of the list, and not through the values before and after.
CREATE INDEX idx_audit_log_search ON audit_log (id, timestamp, action, actor, object);
