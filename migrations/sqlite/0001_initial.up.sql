-- The tables of the service that this one replaces, in SQLite's dialect, with `burst` and `expires_at` added.
--
-- JSON columns are text, checked to be JSON as JSONB would. Times of rows are seconds since 1970, times of logs
-- microseconds. Ids are never used twice: logs and token buckets may outlive their row.

CREATE TABLE providers (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    provider_key    TEXT    NOT NULL UNIQUE,
    provider_type   TEXT    NOT NULL,
    api_base        TEXT    NOT NULL,
    api_key         TEXT    NOT NULL,
    model_mapping   TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(model_mapping)),
    weight          INTEGER NOT NULL DEFAULT 1,
    provider_params TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(provider_params)),
    lua_script      TEXT,
    is_enabled      INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    created_at      INTEGER NOT NULL DEFAULT (unixepoch()),
    updated_at      INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

CREATE TABLE credentials (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    credential_key TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL,
    allowed_models TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(allowed_models)),
    rate_limit     INTEGER,
    burst          INTEGER,
    expires_at     INTEGER,
    is_enabled     INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    created_at     INTEGER NOT NULL DEFAULT (unixepoch()),
    updated_at     INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

-- One row, which every write to the two tables above moves on, whoever writes.
CREATE TABLE config_version (
    id         INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    version    INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

INSERT INTO config_version (id, version) VALUES (1, 0);

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

CREATE TABLE error_logs (
    id                       INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id               TEXT    NOT NULL,
    timestamp                INTEGER NOT NULL,
    error_category           TEXT    NOT NULL,
    error_code               INTEGER,
    error_message            TEXT,
    endpoint                 TEXT,
    client_protocol          TEXT,
    request_headers          TEXT,
    request_body             TEXT,
    provider_name            TEXT,
    provider_api_base        TEXT,
    provider_protocol        TEXT,
    mapped_model             TEXT,
    response_status_code     INTEGER,
    response_body            TEXT,
    total_duration_ms        INTEGER,
    credential_name          TEXT,
    client                   TEXT,
    is_streaming             INTEGER NOT NULL DEFAULT 0 CHECK (is_streaming IN (0, 1)),
    provider_request_body    TEXT,
    provider_request_headers TEXT
) STRICT;

CREATE INDEX idx_error_logs_request_id ON error_logs (request_id);
CREATE INDEX idx_error_logs_timestamp ON error_logs (timestamp);
CREATE INDEX idx_error_logs_error_category ON error_logs (error_category);
CREATE INDEX idx_error_logs_provider_name ON error_logs (provider_name);

CREATE TABLE request_logs (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp         INTEGER NOT NULL,
    request_id        TEXT    NOT NULL,
    endpoint          TEXT,
    credential_name   TEXT,
    model_requested   TEXT,
    model_mapped      TEXT,
    provider_name     TEXT,
    provider_type     TEXT,
    client_protocol   TEXT,
    provider_protocol TEXT,
    is_streaming      INTEGER NOT NULL DEFAULT 0 CHECK (is_streaming IN (0, 1)),
    status_code       INTEGER,
    input_tokens      INTEGER NOT NULL DEFAULT 0,
    output_tokens     INTEGER NOT NULL DEFAULT 0,
    total_tokens      INTEGER NOT NULL DEFAULT 0,
    total_duration_ms INTEGER,
    ttft_ms           INTEGER,
    error_category    TEXT,
    error_message     TEXT,
    request_body      TEXT,
    response_body     TEXT,
    request_headers   TEXT
) STRICT;

CREATE INDEX idx_request_logs_timestamp ON request_logs (timestamp);
CREATE INDEX idx_request_logs_request_id ON request_logs (request_id);
CREATE INDEX idx_request_logs_provider_name ON request_logs (provider_name);
CREATE INDEX idx_request_logs_model_requested ON request_logs (model_requested);
CREATE INDEX idx_request_logs_credential_name ON request_logs (credential_name);
CREATE INDEX idx_request_logs_status_code ON request_logs (status_code);
