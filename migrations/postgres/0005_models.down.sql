DROP TABLE virtual_models;
DELETE FROM config_removed WHERE object = 'virtual_models';
