-- Virtual models: names that clients may ask for, and the models that stand behind each.

CREATE TABLE virtual_models (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    members     TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(members)),
    overrides   TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(overrides)),
    options     TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(options)),
    is_enabled  INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    row_version INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL DEFAULT (unixepoch()),
    updated_at  INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

CREATE INDEX idx_virtual_models_row_version ON virtual_models (row_version);

CREATE TRIGGER trg_virtual_models_insert AFTER INSERT ON virtual_models BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE virtual_models SET row_version = (SELECT version FROM config_version) WHERE id = NEW.id;
END;
CREATE TRIGGER trg_virtual_models_update AFTER UPDATE OF name, members, overrides, options, is_enabled
ON virtual_models BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE virtual_models SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
CREATE TRIGGER trg_virtual_models_delete AFTER DELETE ON virtual_models BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'virtual_model', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;
