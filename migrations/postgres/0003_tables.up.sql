-- What requests cost, and the prices that tell it.

-- Billionths of a dollar; null where no price is known.
ALTER TABLE request_logs ADD COLUMN cost BIGINT;
ALTER TABLE error_logs ADD COLUMN model_requested VARCHAR(255);

-- Dollars per million tokens; null is unknown. `model` is a name, a pattern, or either behind `PROVIDER/`.
CREATE TABLE prices (
    id             BIGSERIAL        PRIMARY KEY,
    model          VARCHAR(512)     NOT NULL UNIQUE,
    input          DOUBLE PRECISION,
    output         DOUBLE PRECISION,
    cache_read     DOUBLE PRECISION,
    cache_write_5m DOUBLE PRECISION,
    cache_write_1h DOUBLE PRECISION,
    reasoning      DOUBLE PRECISION
);
