-- What was spent, summed by day for each name of one dimension: a report reads a row for each name and day, and not one for each
-- combination of names. `dimension` is credential, group, tag, model or provider. A request counts in each of its groups and under
-- each of its tags; the empty name has those without any. The other columns are those of `spend_days`.
CREATE TABLE spend_sums (
    dimension             TEXT   NOT NULL,
    day                   BIGINT NOT NULL,
    name                  TEXT   NOT NULL,
    requests              BIGINT NOT NULL DEFAULT 0,
    errors                BIGINT NOT NULL DEFAULT 0,
    unpriced              BIGINT NOT NULL DEFAULT 0,
    input_tokens          BIGINT NOT NULL DEFAULT 0,
    output_tokens         BIGINT NOT NULL DEFAULT 0,
    cache_read_tokens     BIGINT NOT NULL DEFAULT 0,
    cache_write_5m_tokens BIGINT NOT NULL DEFAULT 0,
    cache_write_1h_tokens BIGINT NOT NULL DEFAULT 0,
    reasoning_tokens      BIGINT NOT NULL DEFAULT 0,
    audio_input_tokens    BIGINT NOT NULL DEFAULT 0,
    audio_output_tokens   BIGINT NOT NULL DEFAULT 0,
    image_input_tokens    BIGINT NOT NULL DEFAULT 0,
    image_output_tokens   BIGINT NOT NULL DEFAULT 0,
    searches              BIGINT NOT NULL DEFAULT 0,
    cost                  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (dimension, day, name)
);

-- Triggers keep the sums: a process of an older version that still runs on this store writes
-- `spend_days` alone. Writers take turns, so that no two of them wait for each other's rows. The
-- triggers are made before the sums of the rows that are there, since from then on no other process
-- writes until the end of this step.
CREATE FUNCTION take_turn_at_spend_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(TG_TABLE_SCHEMA), hashtext('spend_days'));
    RETURN NULL;
END;
$$;

CREATE FUNCTION add_to_spend_sums() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    new_rows spend_days[];
    old_rows spend_days[];
BEGIN
    SELECT array_agg(added) INTO new_rows FROM added;
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(removed) INTO old_rows FROM removed;
    END IF;
    INSERT INTO spend_sums (
        dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
        image_input_tokens, image_output_tokens, searches, cost
    )
    SELECT dimension, day, part,
           CAST(sum(sign * requests) AS BIGINT), CAST(sum(sign * errors) AS BIGINT),
           CAST(sum(sign * unpriced) AS BIGINT), CAST(sum(sign * input_tokens) AS BIGINT),
           CAST(sum(sign * output_tokens) AS BIGINT), CAST(sum(sign * cache_read_tokens) AS BIGINT),
           CAST(sum(sign * cache_write_5m_tokens) AS BIGINT), CAST(sum(sign * cache_write_1h_tokens) AS BIGINT),
           CAST(sum(sign * reasoning_tokens) AS BIGINT), CAST(sum(sign * audio_input_tokens) AS BIGINT),
           CAST(sum(sign * audio_output_tokens) AS BIGINT), CAST(sum(sign * image_input_tokens) AS BIGINT),
           CAST(sum(sign * image_output_tokens) AS BIGINT), CAST(sum(sign * searches) AS BIGINT),
           CAST(sum(sign * cost) AS BIGINT)
    FROM (
        SELECT 1 AS sign, * FROM unnest(new_rows)
        UNION ALL
        SELECT -1, * FROM unnest(old_rows)
    ) AS changed
    CROSS JOIN LATERAL (
        VALUES ('credential', credential), ('model', model), ('provider', provider)
        UNION ALL
        SELECT 'group', unnest(CASE group_path WHEN '' THEN ARRAY[''] ELSE string_to_array(group_path, chr(10)) END)
        UNION ALL
        SELECT 'tag', unnest(CASE tags WHEN '' THEN ARRAY[''] ELSE string_to_array(tags, ',') END)
    ) AS names (dimension, part)
    GROUP BY dimension, day, part
    ON CONFLICT (dimension, day, name) DO UPDATE SET
        requests = spend_sums.requests + excluded.requests, errors = spend_sums.errors + excluded.errors,
        unpriced = spend_sums.unpriced + excluded.unpriced,
        input_tokens = spend_sums.input_tokens + excluded.input_tokens,
        output_tokens = spend_sums.output_tokens + excluded.output_tokens,
        cache_read_tokens = spend_sums.cache_read_tokens + excluded.cache_read_tokens,
        cache_write_5m_tokens = spend_sums.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
        cache_write_1h_tokens = spend_sums.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
        reasoning_tokens = spend_sums.reasoning_tokens + excluded.reasoning_tokens,
        audio_input_tokens = spend_sums.audio_input_tokens + excluded.audio_input_tokens,
        audio_output_tokens = spend_sums.audio_output_tokens + excluded.audio_output_tokens,
        image_input_tokens = spend_sums.image_input_tokens + excluded.image_input_tokens,
        image_output_tokens = spend_sums.image_output_tokens + excluded.image_output_tokens,
        searches = spend_sums.searches + excluded.searches, cost = spend_sums.cost + excluded.cost;
    RETURN NULL;
END;
$$;

CREATE TRIGGER trg_spend_days_a_turn BEFORE INSERT OR UPDATE ON spend_days
    FOR EACH STATEMENT EXECUTE FUNCTION take_turn_at_spend_days();
CREATE TRIGGER trg_spend_days_insert AFTER INSERT ON spend_days
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_spend_sums();
CREATE TRIGGER trg_spend_days_update AFTER UPDATE ON spend_days
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_spend_sums();

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'credential', day, credential, CAST(sum(requests) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(unpriced) AS BIGINT), CAST(sum(input_tokens) AS
       BIGINT), CAST(sum(output_tokens) AS BIGINT), CAST(sum(cache_read_tokens) AS BIGINT), CAST(sum(cache_write_5m_tokens) AS
       BIGINT), CAST(sum(cache_write_1h_tokens) AS BIGINT), CAST(sum(reasoning_tokens) AS BIGINT), CAST(sum(audio_input_tokens)
       AS BIGINT), CAST(sum(audio_output_tokens) AS BIGINT), CAST(sum(image_input_tokens) AS BIGINT),
       CAST(sum(image_output_tokens) AS BIGINT), CAST(sum(searches) AS BIGINT), CAST(sum(cost) AS BIGINT)
FROM spend_days GROUP BY day, credential;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'model', day, model, CAST(sum(requests) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(unpriced) AS BIGINT), CAST(sum(input_tokens) AS
       BIGINT), CAST(sum(output_tokens) AS BIGINT), CAST(sum(cache_read_tokens) AS BIGINT), CAST(sum(cache_write_5m_tokens) AS
       BIGINT), CAST(sum(cache_write_1h_tokens) AS BIGINT), CAST(sum(reasoning_tokens) AS BIGINT), CAST(sum(audio_input_tokens)
       AS BIGINT), CAST(sum(audio_output_tokens) AS BIGINT), CAST(sum(image_input_tokens) AS BIGINT),
       CAST(sum(image_output_tokens) AS BIGINT), CAST(sum(searches) AS BIGINT), CAST(sum(cost) AS BIGINT)
FROM spend_days GROUP BY day, model;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'provider', day, provider, CAST(sum(requests) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(unpriced) AS BIGINT), CAST(sum(input_tokens) AS
       BIGINT), CAST(sum(output_tokens) AS BIGINT), CAST(sum(cache_read_tokens) AS BIGINT), CAST(sum(cache_write_5m_tokens) AS
       BIGINT), CAST(sum(cache_write_1h_tokens) AS BIGINT), CAST(sum(reasoning_tokens) AS BIGINT), CAST(sum(audio_input_tokens)
       AS BIGINT), CAST(sum(audio_output_tokens) AS BIGINT), CAST(sum(image_input_tokens) AS BIGINT),
       CAST(sum(image_output_tokens) AS BIGINT), CAST(sum(searches) AS BIGINT), CAST(sum(cost) AS BIGINT)
FROM spend_days GROUP BY day, provider;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'group', day, part, CAST(sum(requests) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(unpriced) AS BIGINT), CAST(sum(input_tokens) AS
       BIGINT), CAST(sum(output_tokens) AS BIGINT), CAST(sum(cache_read_tokens) AS BIGINT), CAST(sum(cache_write_5m_tokens) AS
       BIGINT), CAST(sum(cache_write_1h_tokens) AS BIGINT), CAST(sum(reasoning_tokens) AS BIGINT), CAST(sum(audio_input_tokens)
       AS BIGINT), CAST(sum(audio_output_tokens) AS BIGINT), CAST(sum(image_input_tokens) AS BIGINT),
       CAST(sum(image_output_tokens) AS BIGINT), CAST(sum(searches) AS BIGINT), CAST(sum(cost) AS BIGINT)
FROM spend_days, unnest(CASE group_path WHEN '' THEN ARRAY[''] ELSE string_to_array(group_path, chr(10)) END) AS part GROUP BY day, part;

INSERT INTO spend_sums (dimension, day, name, requests, errors, unpriced, input_tokens, output_tokens,
                        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
                        audio_output_tokens, image_input_tokens, image_output_tokens, searches, cost)
SELECT 'tag', day, part, CAST(sum(requests) AS BIGINT), CAST(sum(errors) AS BIGINT), CAST(sum(unpriced) AS BIGINT), CAST(sum(input_tokens) AS
       BIGINT), CAST(sum(output_tokens) AS BIGINT), CAST(sum(cache_read_tokens) AS BIGINT), CAST(sum(cache_write_5m_tokens) AS
       BIGINT), CAST(sum(cache_write_1h_tokens) AS BIGINT), CAST(sum(reasoning_tokens) AS BIGINT), CAST(sum(audio_input_tokens)
       AS BIGINT), CAST(sum(audio_output_tokens) AS BIGINT), CAST(sum(image_input_tokens) AS BIGINT),
       CAST(sum(image_output_tokens) AS BIGINT), CAST(sum(searches) AS BIGINT), CAST(sum(cost) AS BIGINT)
FROM spend_days, unnest(CASE tags WHEN '' THEN ARRAY[''] ELSE string_to_array(tags, ',') END) AS part GROUP BY day, part;

CREATE INDEX idx_spend_days_credential ON spend_days (credential, day);

-- Lists of the requests with a tag: one that few have is looked up, and for one that many have, requests with tags are read in order.
DROP INDEX IF EXISTS idx_request_logs_tags;
CREATE INDEX idx_request_logs_tags ON request_logs (timestamp, id, tags) WHERE tags IS NOT NULL;
CREATE INDEX idx_request_logs_tag ON request_logs USING gin (string_to_array(tags, ',')) WHERE tags IS NOT NULL;
