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
