-- What the admin interface needs: versions of rows, limits by tokens and concurrency, two keys while one replaces the other, notes,
-- an audit log, and keys of changes that must not happen twice.

ALTER TABLE providers ADD COLUMN row_version INTEGER NOT NULL DEFAULT 0;

ALTER TABLE credentials ADD COLUMN row_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN tokens_per_minute INTEGER;
ALTER TABLE credentials ADD COLUMN max_concurrency INTEGER;
ALTER TABLE credentials ADD COLUMN previous_key TEXT;
ALTER TABLE credentials ADD COLUMN previous_key_until INTEGER;
ALTER TABLE credentials ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata));

CREATE INDEX idx_providers_row_version ON providers (row_version);
CREATE INDEX idx_credentials_row_version ON credentials (row_version);

-- Rows that are gone, by the version that their removal made; the last 100000 of them.
CREATE TABLE config_removed (
    version INTEGER PRIMARY KEY,
    object  TEXT    NOT NULL CHECK (object IN ('provider', 'credential')),
    row_id  INTEGER NOT NULL
) STRICT;

DROP TRIGGER trg_providers_insert;
DROP TRIGGER trg_providers_update;
DROP TRIGGER trg_providers_delete;
DROP TRIGGER trg_credentials_insert;
DROP TRIGGER trg_credentials_update;
DROP TRIGGER trg_credentials_delete;

-- Every write moves the version on and stamps its row with it, whoever writes. The stamps themselves are no columns of the triggers'.
CREATE TRIGGER trg_providers_insert AFTER INSERT ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE providers SET row_version = (SELECT version FROM config_version) WHERE id = NEW.id;
END;
CREATE TRIGGER trg_providers_update AFTER UPDATE OF
    provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params, lua_script, is_enabled
ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE providers SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
CREATE TRIGGER trg_providers_delete AFTER DELETE ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'provider', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;
CREATE TRIGGER trg_credentials_insert AFTER INSERT ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE credentials SET row_version = (SELECT version FROM config_version) WHERE id = NEW.id;
END;
CREATE TRIGGER trg_credentials_update AFTER UPDATE OF
    credential_key, name, allowed_models, rate_limit, burst, tokens_per_minute, max_concurrency, expires_at, previous_key,
    previous_key_until, metadata, is_enabled
ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE credentials SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
CREATE TRIGGER trg_credentials_delete AFTER DELETE ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'credential', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;

-- Who changed what; values are JSON without secrets. Times in microseconds since 1970, as in the other logs.
CREATE TABLE audit_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp  INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    request_id TEXT,
    action     TEXT    NOT NULL,
    object     TEXT    NOT NULL,
    object_id  INTEGER NOT NULL,
    old        TEXT,
    new        TEXT
) STRICT;

-- Changes that must not happen twice, for a day.
CREATE TABLE idempotency_keys (
    key         TEXT    PRIMARY KEY,
    fingerprint TEXT    NOT NULL,
    row_id      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

CREATE INDEX idx_idempotency_keys_created_at ON idempotency_keys (created_at);
