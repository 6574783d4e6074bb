-- Back to what the service before this one knows. A provider's key that does not fit into its 500 characters stops this step.

DROP TRIGGER trg_config_version_notify ON config_version;
DROP TRIGGER trg_providers_a_turn ON providers;
DROP TRIGGER trg_providers_b_stamp ON providers;
DROP TRIGGER trg_providers_c_written ON providers;
DROP TRIGGER trg_providers_removed ON providers;
DROP TRIGGER trg_providers_truncated ON providers;
DROP TRIGGER trg_credentials_a_turn ON credentials;
DROP TRIGGER trg_credentials_b_stamp ON credentials;
DROP TRIGGER trg_credentials_removed ON credentials;
DROP TRIGGER trg_credentials_truncated ON credentials;

DROP FUNCTION llm_proxy_notify();
DROP FUNCTION llm_proxy_truncated();
DROP FUNCTION llm_proxy_list_removed();
DROP FUNCTION llm_proxy_forget_written();
DROP FUNCTION llm_proxy_stamp();
DROP FUNCTION llm_proxy_take_turn();

DROP TABLE idempotency_keys;
DROP TABLE audit_log;
DROP TABLE config_removed;

DROP INDEX idx_credentials_row_version;
DROP INDEX idx_providers_row_version;

ALTER TABLE credentials
    DROP COLUMN row_version,
    DROP COLUMN metadata,
    DROP COLUMN previous_key_until,
    DROP COLUMN previous_key,
    DROP COLUMN expires_at,
    DROP COLUMN max_concurrency,
    DROP COLUMN tokens_per_minute,
    DROP COLUMN burst;

ALTER TABLE providers
    DROP COLUMN model_mapping_written,
    DROP COLUMN row_version,
    ALTER COLUMN api_key TYPE VARCHAR(500);
