-- Virtual models: names that clients may ask for, and the models that stand behind each.

CREATE TABLE virtual_models (
    id          BIGSERIAL   PRIMARY KEY,
    name        TEXT        NOT NULL UNIQUE,
    -- JSON as written: the order of members is kept.
    members     JSON        NOT NULL DEFAULT '[]',
    overrides   JSON        NOT NULL DEFAULT '{}',
    options     JSON        NOT NULL DEFAULT '{}',
    is_enabled  BOOLEAN     NOT NULL DEFAULT true,
    row_version BIGINT      NOT NULL DEFAULT 0,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX idx_virtual_models_row_version ON virtual_models (row_version);

-- The triggers of the other tables of the configuration.
CREATE TRIGGER trg_virtual_models_version AFTER INSERT OR UPDATE OR DELETE ON virtual_models
    FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();
CREATE TRIGGER trg_virtual_models_a_turn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON virtual_models
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_take_turn();
CREATE TRIGGER trg_virtual_models_b_stamp BEFORE INSERT OR UPDATE ON virtual_models
    FOR EACH ROW EXECUTE FUNCTION llm_proxy_stamp();
CREATE TRIGGER trg_virtual_models_removed AFTER DELETE ON virtual_models
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_list_removed();
CREATE TRIGGER trg_virtual_models_truncated AFTER TRUNCATE ON virtual_models
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_truncated();
