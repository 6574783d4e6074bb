-- What was spent, summed by day for each name of one dimension: a report reads a row for each name and day, and not one for each
-- combination of names. `dimension` is credential, group, tag, model or provider. A request counts in each of its groups and under
-- each of its tags; the empty name has those without any. The other columns are those of `spend_days`.
CREATE TABLE spend_sums (
    dimension             TEXT    NOT NULL,
    day                   INTEGER NOT NULL,
    name                  TEXT    NOT NULL,
    requests              INTEGER NOT NULL DEFAULT 0,
    errors                INTEGER NOT NULL DEFAULT 0,
    unpriced              INTEGER NOT NULL DEFAULT 0,
    input_tokens          INTEGER NOT NULL DEFAULT 0,
    output_tokens         INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens     INTEGER NOT NULL DEFAULT 0,
    cache_write_5m_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_1h_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens      INTEGER NOT NULL DEFAULT 0,
    audio_input_tokens    INTEGER NOT NULL DEFAULT 0,
    audio_output_tokens   INTEGER NOT NULL DEFAULT 0,
    image_input_tokens    INTEGER NOT NULL DEFAULT 0,
    image_output_tokens   INTEGER NOT NULL DEFAULT 0,
    searches              INTEGER NOT NULL DEFAULT 0,
    cost                  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dimension, day, name)
) STRICT, WITHOUT ROWID;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'credential', day, credential, sum(requests), sum(errors), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
       sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(audio_input_tokens),
       sum(audio_output_tokens), sum(image_input_tokens), sum(image_output_tokens), sum(searches), sum(cost)
FROM spend_days GROUP BY day, credential;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'model', day, model, sum(requests), sum(errors), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
       sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(audio_input_tokens),
       sum(audio_output_tokens), sum(image_input_tokens), sum(image_output_tokens), sum(searches), sum(cost)
FROM spend_days GROUP BY day, model;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'provider', day, provider, sum(requests), sum(errors), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
       sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(audio_input_tokens),
       sum(audio_output_tokens), sum(image_input_tokens), sum(image_output_tokens), sum(searches), sum(cost)
FROM spend_days GROUP BY day, provider;

WITH RECURSIVE parts (whole, part, rest) AS (
    SELECT DISTINCT group_path, NULL, group_path || char(10) FROM spend_days
    UNION ALL
    SELECT whole, substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1) FROM parts WHERE rest <> ''
)
INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'group', day, part, sum(requests), sum(errors), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
       sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(audio_input_tokens),
       sum(audio_output_tokens), sum(image_input_tokens), sum(image_output_tokens), sum(searches), sum(cost)
FROM spend_days JOIN parts ON whole = group_path AND part IS NOT NULL GROUP BY day, part;

WITH RECURSIVE parts (whole, part, rest) AS (
    SELECT DISTINCT tags, NULL, tags || ',' FROM spend_days
    UNION ALL
    SELECT whole, substr(rest, 1, instr(rest, ',') - 1), substr(rest, instr(rest, ',') + 1) FROM parts WHERE rest <> ''
)
INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'tag', day, part, sum(requests), sum(errors), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
       sum(cache_write_5m_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(audio_input_tokens),
       sum(audio_output_tokens), sum(image_input_tokens), sum(image_output_tokens), sum(searches), sum(cost)
FROM spend_days JOIN parts ON whole = tags AND part IS NOT NULL GROUP BY day, part;

CREATE INDEX idx_spend_days_credential ON spend_days (credential, day);

-- Triggers keep the sums: a process of an older version that still runs on this store writes
-- `spend_days` alone.
CREATE TRIGGER trg_spend_days_insert AFTER INSERT ON spend_days
BEGIN
    INSERT INTO spend_sums (
        dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
        image_input_tokens, image_output_tokens, searches, cost
    )
    SELECT dimension, NEW.day, part,
           NEW.requests, NEW.errors, NEW.unpriced, NEW.input_tokens, NEW.output_tokens, NEW.cache_read_tokens,
           NEW.cache_write_5m_tokens, NEW.cache_write_1h_tokens, NEW.reasoning_tokens, NEW.audio_input_tokens,
           NEW.audio_output_tokens, NEW.image_input_tokens, NEW.image_output_tokens, NEW.searches, NEW.cost
    FROM (
        SELECT 'credential' AS dimension, NEW.credential AS part
        UNION ALL SELECT 'model', NEW.model
        UNION ALL SELECT 'provider', NEW.provider
        UNION ALL SELECT * FROM (
            WITH RECURSIVE parts (part, rest) AS (
                SELECT NULL, NEW.group_path || char(10)
                UNION ALL
                SELECT substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1) FROM parts WHERE rest <> ''
            )
            SELECT 'group', part FROM parts WHERE part IS NOT NULL
        )
        UNION ALL SELECT * FROM (
            WITH RECURSIVE parts (part, rest) AS (
                SELECT NULL, NEW.tags || ','
                UNION ALL
                SELECT substr(rest, 1, instr(rest, ',') - 1), substr(rest, instr(rest, ',') + 1) FROM parts WHERE rest <> ''
            )
            SELECT 'tag', part FROM parts WHERE part IS NOT NULL
        )
    )
    WHERE true
    ON CONFLICT (dimension, day, name) DO UPDATE SET
        requests = requests + excluded.requests, errors = errors + excluded.errors,
        unpriced = unpriced + excluded.unpriced, input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_5m_tokens = cache_write_5m_tokens + excluded.cache_write_5m_tokens,
        cache_write_1h_tokens = cache_write_1h_tokens + excluded.cache_write_1h_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        audio_input_tokens = audio_input_tokens + excluded.audio_input_tokens,
        audio_output_tokens = audio_output_tokens + excluded.audio_output_tokens,
        image_input_tokens = image_input_tokens + excluded.image_input_tokens,
        image_output_tokens = image_output_tokens + excluded.image_output_tokens,
        searches = searches + excluded.searches, cost = cost + excluded.cost;
END;

CREATE TRIGGER trg_spend_days_update AFTER UPDATE ON spend_days
BEGIN
    INSERT INTO spend_sums (
        dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
        image_input_tokens, image_output_tokens, searches, cost
    )
    SELECT dimension, NEW.day, part,
           NEW.requests - OLD.requests, NEW.errors - OLD.errors, NEW.unpriced - OLD.unpriced,
           NEW.input_tokens - OLD.input_tokens, NEW.output_tokens - OLD.output_tokens,
           NEW.cache_read_tokens - OLD.cache_read_tokens, NEW.cache_write_5m_tokens - OLD.cache_write_5m_tokens,
           NEW.cache_write_1h_tokens - OLD.cache_write_1h_tokens, NEW.reasoning_tokens - OLD.reasoning_tokens,
           NEW.audio_input_tokens - OLD.audio_input_tokens, NEW.audio_output_tokens - OLD.audio_output_tokens,
           NEW.image_input_tokens - OLD.image_input_tokens, NEW.image_output_tokens - OLD.image_output_tokens,
           NEW.searches - OLD.searches, NEW.cost - OLD.cost
    FROM (
        SELECT 'credential' AS dimension, NEW.credential AS part
        UNION ALL SELECT 'model', NEW.model
        UNION ALL SELECT 'provider', NEW.provider
        UNION ALL SELECT * FROM (
            WITH RECURSIVE parts (part, rest) AS (
                SELECT NULL, NEW.group_path || char(10)
                UNION ALL
                SELECT substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1) FROM parts WHERE rest <> ''
            )
            SELECT 'group', part FROM parts WHERE part IS NOT NULL
        )
        UNION ALL SELECT * FROM (
            WITH RECURSIVE parts (part, rest) AS (
                SELECT NULL, NEW.tags || ','
                UNION ALL
                SELECT substr(rest, 1, instr(rest, ',') - 1), substr(rest, instr(rest, ',') + 1) FROM parts WHERE rest <> ''
            )
            SELECT 'tag', part FROM parts WHERE part IS NOT NULL
        )
    )
    WHERE true
    ON CONFLICT (dimension, day, name) DO UPDATE SET
        requests = requests + excluded.requests, errors = errors + excluded.errors,
        unpriced = unpriced + excluded.unpriced, input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_5m_tokens = cache_write_5m_tokens + excluded.cache_write_5m_tokens,
        cache_write_1h_tokens = cache_write_1h_tokens + excluded.cache_write_1h_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        audio_input_tokens = audio_input_tokens + excluded.audio_input_tokens,
        audio_output_tokens = audio_output_tokens + excluded.audio_output_tokens,
        image_input_tokens = image_input_tokens + excluded.image_input_tokens,
        image_output_tokens = image_output_tokens + excluded.image_output_tokens,
        searches = searches + excluded.searches, cost = cost + excluded.cost;
END;
