-- Budgets: what a credential, a group, a tag or a provider may spend in a window of the calendar.

-- `amount` is in billionths of a dollar, or in tokens.
CREATE TABLE budgets (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    scope       TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    unit        TEXT    NOT NULL DEFAULT 'usd',
    amount      INTEGER NOT NULL,
    period      TEXT    NOT NULL DEFAULT 'month',
    time_zone   TEXT    NOT NULL DEFAULT '',
    is_hard     INTEGER NOT NULL DEFAULT 1 CHECK (is_hard IN (0, 1)),
    warn_at     TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(warn_at)),
    is_enabled  INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    row_version INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL DEFAULT (unixepoch()),
    updated_at  INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
CREATE INDEX idx_budgets_row_version ON budgets (row_version);

-- What budgets have come to, by window. `taken` is what was used and what gateways hold, `spent` what was used, `extra` what was added
-- to the amount, `epoch` counts resets. No write here is a change of the configuration.
CREATE TABLE budget_sums (
    name      TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    starts_at INTEGER NOT NULL,
    taken     INTEGER NOT NULL DEFAULT 0,
    spent     INTEGER NOT NULL DEFAULT 0,
    extra     INTEGER NOT NULL DEFAULT 0,
    epoch     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (name, kind, starts_at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER trg_budgets_insert AFTER INSERT ON budgets BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE budgets SET row_version = (SELECT version FROM config_version) WHERE id = NEW.id;
END;
CREATE TRIGGER trg_budgets_update AFTER UPDATE OF
    name, scope, subject, unit, amount, period, time_zone, is_hard, warn_at, is_enabled
ON budgets BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    UPDATE budgets SET row_version = (SELECT version FROM config_version), updated_at = unixepoch() WHERE id = NEW.id;
END;
CREATE TRIGGER trg_budgets_delete AFTER DELETE ON budgets BEGIN
    UPDATE config_version SET version = version + 1, updated_at = unixepoch();
    INSERT INTO config_removed (version, object, row_id) SELECT version, 'budget', OLD.id FROM config_version;
    DELETE FROM config_removed WHERE version <= (SELECT version FROM config_version) - 100000;
END;
