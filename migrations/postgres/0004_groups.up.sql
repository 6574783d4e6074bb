-- Groups of credentials, which may be nested, with models and limits of their own.

CREATE TABLE credential_groups (
    id                BIGSERIAL    PRIMARY KEY,
    name              VARCHAR(255) NOT NULL UNIQUE,
    parent            VARCHAR(255),
    allowed_models    JSONB        NOT NULL DEFAULT '[]',
    rate_limit        BIGINT,
    burst             BIGINT,
    tokens_per_minute BIGINT,
    max_concurrency   BIGINT,
    metadata          JSONB        NOT NULL DEFAULT '{}',
    is_enabled        BOOLEAN      NOT NULL DEFAULT true,
    row_version       BIGINT       NOT NULL DEFAULT 0,
    created_at        TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at        TIMESTAMPTZ  NOT NULL DEFAULT now()
);
CREATE INDEX idx_credential_groups_row_version ON credential_groups (row_version);

-- The name of the group; null is none.
ALTER TABLE credentials ADD COLUMN group_name VARCHAR(255);

-- Removals of every kind of row: the name of the table, or `everything`.
ALTER TABLE config_removed DROP CONSTRAINT IF EXISTS config_removed_object_check;

-- Triggers of one kind run in the order of their names: `removed` comes before `version`.
CREATE TRIGGER trg_credential_groups_a_turn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON credential_groups
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_take_turn();
CREATE TRIGGER trg_credential_groups_b_stamp BEFORE INSERT OR UPDATE ON credential_groups
    FOR EACH ROW EXECUTE FUNCTION llm_proxy_stamp();
CREATE TRIGGER trg_credential_groups_removed AFTER DELETE ON credential_groups
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_list_removed();
CREATE TRIGGER trg_credential_groups_truncated AFTER TRUNCATE ON credential_groups
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_truncated();
CREATE TRIGGER trg_credential_groups_version AFTER INSERT OR UPDATE OR DELETE ON credential_groups
    FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();
