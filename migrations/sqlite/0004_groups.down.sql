DROP TABLE credential_groups;

DROP TRIGGER trg_credentials_update;
CREATE TRIGGER trg_credentials_update AFTER UPDATE OF
    credential_key, name, allowed_models, rate_limit, burst, tokens_per_minute, max_concurrency, expires_at, previous_key,
    previous_key_until, metadata, is_enabled
ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE credentials SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
ALTER TABLE credentials DROP COLUMN group_name;
DELETE FROM config_removed WHERE object NOT IN ('provider', 'credential');
