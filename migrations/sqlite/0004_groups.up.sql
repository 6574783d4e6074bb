-- Groups of credentials, which may be nested, with models and limits of their own.

CREATE TABLE credential_groups (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT    NOT NULL UNIQUE,
    parent            TEXT,
    allowed_models    TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(allowed_models)),
    rate_limit        INTEGER,
    burst             INTEGER,
    tokens_per_minute INTEGER,
    max_concurrency   INTEGER,
    metadata          TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    is_enabled        INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    row_version       INTEGER NOT NULL DEFAULT 0,
    created_at        INTEGER NOT NULL DEFAULT (unixepoch()),
    updated_at        INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
CREATE INDEX idx_credential_groups_row_version ON credential_groups (row_version);

-- The name of the group; null is none.
ALTER TABLE credentials ADD COLUMN group_name TEXT;

-- Removals of every kind of row. The triggers that write here name the table by this name.
DROP TRIGGER trg_providers_delete;
DROP TRIGGER trg_credentials_delete;
ALTER TABLE config_removed RENAME TO config_removed_before;
CREATE TABLE config_removed (
    version INTEGER PRIMARY KEY,
    object  TEXT    NOT NULL,
    row_id  INTEGER NOT NULL
) STRICT;
INSERT INTO config_removed (version, object, row_id) SELECT version, object, row_id FROM config_removed_before;
DROP TABLE config_removed_before;
CREATE TRIGGER trg_providers_delete AFTER DELETE ON providers BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'provider', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;
CREATE TRIGGER trg_credentials_delete AFTER DELETE ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'credential', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;

DROP TRIGGER trg_credentials_update;
CREATE TRIGGER trg_credentials_update AFTER UPDATE OF
    credential_key, name, group_name, allowed_models, rate_limit, burst, tokens_per_minute, max_concurrency, expires_at, previous_key,
    previous_key_until, metadata, is_enabled
ON credentials BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE credentials SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;

CREATE TRIGGER trg_credential_groups_insert AFTER INSERT ON credential_groups BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE credential_groups SET row_version = (SELECT version FROM config_version) WHERE id = NEW.id;
END;
CREATE TRIGGER trg_credential_groups_update AFTER UPDATE OF
    name, parent, allowed_models, rate_limit, burst, tokens_per_minute, max_concurrency, metadata, is_enabled
ON credential_groups BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE credential_groups SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
CREATE TRIGGER trg_credential_groups_delete AFTER DELETE ON credential_groups BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'group', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;
