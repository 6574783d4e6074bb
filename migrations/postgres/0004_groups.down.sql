DROP TABLE credential_groups;
ALTER TABLE credentials DROP COLUMN group_name;
DELETE FROM config_removed WHERE object NOT IN ('providers', 'credentials', 'everything');
