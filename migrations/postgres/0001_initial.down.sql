-- Takes back what this step made on an empty database. On one that it found, llm-proxy runs nothing here: those tables are not its own.

DROP TABLE request_logs;
DROP TABLE error_logs;
DROP TABLE credentials;
DROP TABLE providers;
DROP TABLE config_version;
DROP FUNCTION increment_config_version();
