DROP TRIGGER trg_budgets_update;
ALTER TABLE budgets DROP COLUMN downgrade_to;
CREATE TRIGGER trg_budgets_update AFTER UPDATE OF
    name, scope, subject, unit, amount, period, time_zone, is_hard, warn_at, is_enabled
ON budgets BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE budgets SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
