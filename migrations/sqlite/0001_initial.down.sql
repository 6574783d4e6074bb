DROP TABLE request_logs;
DROP TABLE error_logs;
DROP TABLE credentials;
DROP TABLE providers;
DROP TABLE config_version;
