-- What requests cost, and the prices that tell it.

-- Billionths of a dollar; null where no price is known.
ALTER TABLE request_logs ADD COLUMN cost INTEGER;
ALTER TABLE error_logs ADD COLUMN model_requested TEXT;

-- Dollars per million tokens; null is unknown. `model` is a name, a pattern, or either behind `PROVIDER/`.
CREATE TABLE prices (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    model          TEXT    NOT NULL UNIQUE,
    input          REAL,
    output         REAL,
    cache_read     REAL,
    cache_write_5m REAL,
    cache_write_1h REAL,
    reasoning      REAL
) STRICT;
