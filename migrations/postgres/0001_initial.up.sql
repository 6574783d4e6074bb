-- The tables of the service that this one replaces, as its newest version has them.
--
-- This step also runs on a database of that service at any of its versions from 2 on, which llm-proxy has looked at before: each
-- statement adds only what is missing, and none touches a row. `schema_migrations`, which counted that service's own steps, is left as
-- it is.

CREATE TABLE IF NOT EXISTS providers (
    id              SERIAL       PRIMARY KEY,
    provider_key    VARCHAR(255) NOT NULL UNIQUE,
    provider_type   VARCHAR(50)  NOT NULL,
    api_base        VARCHAR(500) NOT NULL,
    api_key         VARCHAR(500) NOT NULL,
    model_mapping   JSONB        NOT NULL DEFAULT '{}',
    is_enabled      BOOLEAN      NOT NULL DEFAULT true,
    created_at      TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ  NOT NULL DEFAULT now()
);
ALTER TABLE providers ADD COLUMN IF NOT EXISTS weight INTEGER NOT NULL DEFAULT 1;
ALTER TABLE providers ADD COLUMN IF NOT EXISTS provider_params JSONB NOT NULL DEFAULT '{}';
ALTER TABLE providers ADD COLUMN IF NOT EXISTS lua_script TEXT;

CREATE TABLE IF NOT EXISTS credentials (
    id             SERIAL       PRIMARY KEY,
    credential_key VARCHAR(255) NOT NULL UNIQUE,
    name           VARCHAR(255) NOT NULL,
    allowed_models JSONB        NOT NULL DEFAULT '[]',
    rate_limit     INTEGER,
    is_enabled     BOOLEAN      NOT NULL DEFAULT true,
    created_at     TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at     TIMESTAMPTZ  NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS idx_providers_provider_key ON providers (provider_key);
CREATE INDEX IF NOT EXISTS idx_providers_is_enabled ON providers (is_enabled);
CREATE INDEX IF NOT EXISTS idx_providers_enabled_weight ON providers (is_enabled, weight) WHERE is_enabled = true;
CREATE INDEX IF NOT EXISTS idx_credentials_credential_key ON credentials (credential_key);
CREATE INDEX IF NOT EXISTS idx_credentials_is_enabled ON credentials (is_enabled);

-- One row, which every write to the two tables above moves on, whoever writes.
CREATE TABLE IF NOT EXISTS config_version (
    id         INTEGER     PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    version    BIGINT      NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
INSERT INTO config_version (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING;

CREATE OR REPLACE FUNCTION increment_config_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE config_version SET version = version + 1, updated_at = now() WHERE id = 1;
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS trg_providers_version ON providers;
CREATE TRIGGER trg_providers_version AFTER INSERT OR UPDATE OR DELETE ON providers
    FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();
DROP TRIGGER IF EXISTS trg_credentials_version ON credentials;
CREATE TRIGGER trg_credentials_version AFTER INSERT OR UPDATE OR DELETE ON credentials
    FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();

CREATE TABLE IF NOT EXISTS error_logs (
    id                   BIGSERIAL    PRIMARY KEY,
    request_id           VARCHAR(64)  NOT NULL,
    timestamp            TIMESTAMPTZ  NOT NULL DEFAULT now(),
    error_category       VARCHAR(32)  NOT NULL,
    error_code           INTEGER,
    error_message        TEXT,
    endpoint             VARCHAR(255),
    client_protocol      VARCHAR(32),
    request_headers      JSONB,
    request_body         JSONB,
    provider_name        VARCHAR(255),
    provider_api_base    VARCHAR(500),
    provider_protocol    VARCHAR(32),
    mapped_model         VARCHAR(255),
    response_status_code INTEGER,
    response_body        JSONB,
    total_duration_ms    INTEGER,
    credential_name      VARCHAR(255),
    client               VARCHAR(255),
    is_streaming         BOOLEAN      NOT NULL DEFAULT false
);
ALTER TABLE error_logs ADD COLUMN IF NOT EXISTS provider_request_body JSONB;
ALTER TABLE error_logs ADD COLUMN IF NOT EXISTS provider_request_headers JSONB;

CREATE INDEX IF NOT EXISTS idx_error_logs_request_id ON error_logs (request_id);
CREATE INDEX IF NOT EXISTS idx_error_logs_timestamp ON error_logs (timestamp);
CREATE INDEX IF NOT EXISTS idx_error_logs_error_category ON error_logs (error_category);
CREATE INDEX IF NOT EXISTS idx_error_logs_provider_name ON error_logs (provider_name);

CREATE TABLE IF NOT EXISTS request_logs (
    id                BIGSERIAL    PRIMARY KEY,
    timestamp         TIMESTAMPTZ  NOT NULL DEFAULT now(),
    request_id        VARCHAR(64)  NOT NULL,
    endpoint          VARCHAR(255),
    credential_name   VARCHAR(255),
    model_requested   VARCHAR(255),
    model_mapped      VARCHAR(255),
    provider_name     VARCHAR(255),
    provider_type     VARCHAR(50),
    client_protocol   VARCHAR(50),
    provider_protocol VARCHAR(50),
    is_streaming      BOOLEAN      NOT NULL DEFAULT false,
    status_code       INTEGER,
    input_tokens      INTEGER      NOT NULL DEFAULT 0,
    output_tokens     INTEGER      NOT NULL DEFAULT 0,
    total_tokens      INTEGER      NOT NULL DEFAULT 0,
    total_duration_ms INTEGER,
    ttft_ms           INTEGER,
    error_category    VARCHAR(50),
    error_message     TEXT,
    request_body      TEXT,
    response_body     TEXT,
    request_headers   TEXT
);

CREATE INDEX IF NOT EXISTS idx_request_logs_timestamp ON request_logs (timestamp);
CREATE INDEX IF NOT EXISTS idx_request_logs_request_id ON request_logs (request_id);
CREATE INDEX IF NOT EXISTS idx_request_logs_provider_name ON request_logs (provider_name);
CREATE INDEX IF NOT EXISTS idx_request_logs_model_requested ON request_logs (model_requested);
CREATE INDEX IF NOT EXISTS idx_request_logs_credential_name ON request_logs (credential_name);
CREATE INDEX IF NOT EXISTS idx_request_logs_status_code ON request_logs (status_code);
