DROP TABLE idempotency_keys;
DROP TABLE audit_log;

DROP TRIGGER trg_providers_insert;
DROP TRIGGER trg_providers_update;
DROP TRIGGER trg_providers_delete;
DROP TRIGGER trg_credentials_insert;
DROP TRIGGER trg_credentials_update;
DROP TRIGGER trg_credentials_delete;

CREATE TRIGGER trg_providers_insert AFTER INSERT ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
END;
CREATE TRIGGER trg_providers_update AFTER UPDATE ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
END;
CREATE TRIGGER trg_providers_delete AFTER DELETE ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
END;
CREATE TRIGGER trg_credentials_insert AFTER INSERT ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
END;
CREATE TRIGGER trg_credentials_update AFTER UPDATE ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
END;
CREATE TRIGGER trg_credentials_delete AFTER DELETE ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
END;

DROP TABLE config_removed;
DROP INDEX idx_credentials_row_version;
DROP INDEX idx_providers_row_version;

ALTER TABLE credentials DROP COLUMN metadata;
ALTER TABLE credentials DROP COLUMN previous_key_until;
ALTER TABLE credentials DROP COLUMN previous_key;
ALTER TABLE credentials DROP COLUMN max_concurrency;
ALTER TABLE credentials DROP COLUMN tokens_per_minute;
ALTER TABLE credentials DROP COLUMN row_version;
ALTER TABLE providers DROP COLUMN row_version;
