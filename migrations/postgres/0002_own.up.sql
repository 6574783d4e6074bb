-- What this service has beyond the one that it replaces, which can go on using the database beside it: limits by tokens and concurrency,
-- expiry, two keys while one replaces the other, versions of rows, notices of changes, an audit log.

ALTER TABLE providers ALTER COLUMN api_key TYPE TEXT;
ALTER TABLE providers ADD COLUMN row_version BIGINT NOT NULL DEFAULT 0;
-- The mapping as it was written. JSONB sorts its keys, and here their order has a meaning. Null where somebody wrote `model_mapping` alone.
ALTER TABLE providers ADD COLUMN model_mapping_written JSON;

ALTER TABLE credentials ADD COLUMN burst BIGINT;
ALTER TABLE credentials ADD COLUMN tokens_per_minute BIGINT;
ALTER TABLE credentials ADD COLUMN max_concurrency BIGINT;
ALTER TABLE credentials ADD COLUMN expires_at TIMESTAMPTZ;
ALTER TABLE credentials ADD COLUMN previous_key TEXT;
ALTER TABLE credentials ADD COLUMN previous_key_until TIMESTAMPTZ;
ALTER TABLE credentials ADD COLUMN metadata JSONB NOT NULL DEFAULT '{}';
ALTER TABLE credentials ADD COLUMN row_version BIGINT NOT NULL DEFAULT 0;

CREATE INDEX idx_providers_row_version ON providers (row_version);
CREATE INDEX idx_credentials_row_version ON credentials (row_version);

-- Rows that are gone, by the version that their removal made. `everything` says that no list was kept. Old ones go in time.
CREATE TABLE config_removed (
    version BIGINT NOT NULL,
    object  TEXT   NOT NULL CHECK (object IN ('providers', 'credentials', 'everything')),
    row_id  BIGINT
);
CREATE INDEX idx_config_removed_version ON config_removed (version);

-- Who changed what; values are JSON without secrets.
CREATE TABLE audit_log (
    id         BIGSERIAL   PRIMARY KEY,
    timestamp  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    actor      TEXT        NOT NULL,
    request_id TEXT,
    action     TEXT        NOT NULL,
    object     TEXT        NOT NULL,
    object_id  BIGINT      NOT NULL,
    old        JSON,
    new        JSON
);

-- Changes that must not happen twice, for a day.
CREATE TABLE idempotency_keys (
    key         TEXT        PRIMARY KEY,
    fingerprint TEXT        NOT NULL,
    row_id      BIGINT      NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_idempotency_keys_created_at ON idempotency_keys (created_at);

-- Writers take their turn at `config_version` before they stamp a row, so that versions become visible in their order: who has seen version 7
-- will find no row of version 7 later on.
CREATE FUNCTION llm_proxy_take_turn() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM 1 FROM config_version WHERE id = 1 FOR UPDATE;
    RETURN NULL;
END
$$;

-- The version that `increment_config_version` will make at the end of this statement.
CREATE FUNCTION llm_proxy_stamp() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    NEW.row_version := coalesce((SELECT version FROM config_version WHERE id = 1), 0) + 1;
    IF TG_OP = 'UPDATE' THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;

-- Forgets a mapping as written when somebody, who knows of `model_mapping` alone, has written another.
CREATE FUNCTION llm_proxy_forget_written() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.model_mapping_written::jsonb IS DISTINCT FROM NEW.model_mapping THEN
        NEW.model_mapping_written := NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION llm_proxy_list_removed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO config_removed (version, object, row_id)
        SELECT version + 1, TG_TABLE_NAME, removed.id FROM config_version, removed;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
    RETURN NULL;
END
$$;

CREATE FUNCTION llm_proxy_truncated() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE config_version SET version = version + 1, updated_at = now() WHERE id = 1;
    INSERT INTO config_removed (version, object) SELECT version, 'everything' FROM config_version;
    RETURN NULL;
END
$$;

-- A notice is a hint to look; it is sent when the change is committed, and carries the schema, since a database may hold several.
CREATE FUNCTION llm_proxy_notify() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('llm_proxy_config', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_config_version_notify AFTER UPDATE ON config_version
    FOR EACH ROW EXECUTE FUNCTION llm_proxy_notify();

-- Triggers of one kind run in the order of their names: `removed` comes before the original's `version`.
CREATE TRIGGER trg_providers_a_turn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON providers
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_take_turn();
CREATE TRIGGER trg_providers_b_stamp BEFORE INSERT OR UPDATE ON providers
    FOR EACH ROW EXECUTE FUNCTION llm_proxy_stamp();
CREATE TRIGGER trg_providers_c_written BEFORE INSERT OR UPDATE ON providers
    FOR EACH ROW WHEN (NEW.model_mapping_written IS NOT NULL) EXECUTE FUNCTION llm_proxy_forget_written();
CREATE TRIGGER trg_providers_removed AFTER DELETE ON providers
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_list_removed();
CREATE TRIGGER trg_providers_truncated AFTER TRUNCATE ON providers
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_truncated();

CREATE TRIGGER trg_credentials_a_turn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON credentials
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_take_turn();
CREATE TRIGGER trg_credentials_b_stamp BEFORE INSERT OR UPDATE ON credentials
    FOR EACH ROW EXECUTE FUNCTION llm_proxy_stamp();
CREATE TRIGGER trg_credentials_removed AFTER DELETE ON credentials
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_list_removed();
CREATE TRIGGER trg_credentials_truncated AFTER TRUNCATE ON credentials
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_truncated();

