-- What was spent, summed by day: a report over months reads some thousand rows, not millions.

-- `day` is the first second of a day in UTC, since 1970. `key` tells the rows of a day apart: it is made of the texts that follow.
-- `group_path` has the group of the credential and those that it belongs to, the innermost first, with a line feed between two; `tags`
-- the tags of the requests in alphabetical order, with commas. Empty is none. `tier` is the tier of prices that was applied. `cost` is
-- in billionths of a dollar; `unpriced` counts requests with tokens and without a known price.
CREATE TABLE spend_days (
    day                   BIGINT NOT NULL,
    key                   TEXT   NOT NULL,
    credential            TEXT   NOT NULL,
    group_path            TEXT   NOT NULL,
    tags                  TEXT   NOT NULL,
    model                 TEXT   NOT NULL,
    provider              TEXT   NOT NULL,
    upstream_model        TEXT   NOT NULL,
    tier                  TEXT   NOT NULL,
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
    PRIMARY KEY (day, key)
);

-- The requests of the log. Groups, tags and the kinds of their tokens are not known.
INSERT INTO spend_days (day, key, credential, group_path, tags, model, provider, upstream_model, tier,
                        requests, errors, unpriced, input_tokens, output_tokens, cost)
SELECT day, 'log-' || row_number() OVER (), credential, '', '', model, provider, upstream, '',
       requests, errors, unpriced, input, output, cost
FROM (
    SELECT CAST(floor(extract(epoch FROM timestamp) / 86400) * 86400 AS BIGINT) AS day, coalesce(credential_name, '') AS credential,
           coalesce(model_requested, '') AS model, coalesce(provider_name, '') AS provider, coalesce(model_mapped, '') AS upstream,
           count(*) AS requests, count(*) FILTER (WHERE status_code >= 400 OR error_category IS NOT NULL) AS errors,
           count(*) FILTER (WHERE cost IS NULL AND total_tokens > 0) AS unpriced,
           CAST(coalesce(sum(input_tokens), 0) AS BIGINT) AS input, CAST(coalesce(sum(output_tokens), 0) AS BIGINT) AS output,
           CAST(coalesce(sum(cost), 0) AS BIGINT) AS cost
    FROM request_logs GROUP BY 1, 2, 3, 4, 5
) AS logged;
