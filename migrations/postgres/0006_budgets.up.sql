-- Budgets: what a credential, a group, a tag or a provider may spend in a window of the calendar.

-- `amount` is in billionths of a dollar, or in tokens.
CREATE TABLE budgets (
    id          BIGSERIAL    PRIMARY KEY,
    name        VARCHAR(255) NOT NULL UNIQUE,
    scope       VARCHAR(50)  NOT NULL,
    subject     VARCHAR(255) NOT NULL,
    unit        VARCHAR(50)  NOT NULL DEFAULT 'usd',
    amount      BIGINT       NOT NULL,
    period      VARCHAR(50)  NOT NULL DEFAULT 'month',
    time_zone   VARCHAR(255) NOT NULL DEFAULT '',
    is_hard     BOOLEAN      NOT NULL DEFAULT true,
    warn_at     JSONB        NOT NULL DEFAULT '[]',
    is_enabled  BOOLEAN      NOT NULL DEFAULT true,
    row_version BIGINT       NOT NULL DEFAULT 0,
    created_at  TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ  NOT NULL DEFAULT now()
);
CREATE INDEX idx_budgets_row_version ON budgets (row_version);

-- What budgets have come to, by window. `taken` is what was used and what gateways hold, `spent` what was used, `extra` what was added
-- to the amount, `epoch` counts resets. No write here is a change of the configuration.
CREATE TABLE budget_sums (
    name      VARCHAR(255) NOT NULL,
    kind      VARCHAR(50)  NOT NULL,
    starts_at BIGINT       NOT NULL,
    taken     BIGINT       NOT NULL DEFAULT 0,
    spent     BIGINT       NOT NULL DEFAULT 0,
    extra     BIGINT       NOT NULL DEFAULT 0,
    epoch     BIGINT       NOT NULL DEFAULT 0,
    PRIMARY KEY (name, kind, starts_at)
);

-- Triggers of one kind run in the order of their names: `removed` comes before `version`.
CREATE TRIGGER trg_budgets_a_turn BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON budgets
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_take_turn();
CREATE TRIGGER trg_budgets_b_stamp BEFORE INSERT OR UPDATE ON budgets
    FOR EACH ROW EXECUTE FUNCTION llm_proxy_stamp();
CREATE TRIGGER trg_budgets_removed AFTER DELETE ON budgets
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_list_removed();
CREATE TRIGGER trg_budgets_truncated AFTER TRUNCATE ON budgets
    FOR EACH STATEMENT EXECUTE FUNCTION llm_proxy_truncated();
CREATE TRIGGER trg_budgets_version AFTER INSERT OR UPDATE OR DELETE ON budgets
    FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();
