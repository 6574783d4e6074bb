-- The model by which requests are served for which too little of a budget is left. Null refuses them.
ALTER TABLE budgets ADD COLUMN downgrade_to TEXT;

DROP TRIGGER trg_budgets_update;
CREATE TRIGGER trg_budgets_update AFTER UPDATE OF
    name, scope, subject, unit, amount, period, time_zone, is_hard, warn_at, is_enabled, downgrade_to
ON budgets BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE budgets SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
