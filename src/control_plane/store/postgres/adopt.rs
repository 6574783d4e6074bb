//! Finds out what a schema contains: nothing, the tables of this program, those of llm-proxy v1, or
//! others. Tables and columns alone decide: the number in `schema_migrations` may be wrong, or
//! missing after a restore.

use std::collections::BTreeMap;

use tokio_postgres::GenericClient;

use crate::control_plane::store::migrations::Applied;

/// The tables of a schema with their columns; views and what belongs to an extension left out.
pub(super) type Tables = BTreeMap<String, BTreeMap<String, Column>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// PostgreSQL's short name, such as `int4`.
    pub kind: String,
    /// Not null, and nothing fills it by itself.
    pub must_be_given: bool,
}

/// What [`recognise`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// `llm_proxy_migrations` is there.
    Reported,
    /// Tables of llm-proxy v1, in a form that the first step can bring up to date.
    Version1,
    /// The reason completes a sentence that begins with the store's name.
    Other(String),
}

/// A table, and of each column its name, the types it may have, and whether it must be there.
type Shape = (&'static str, &'static [(&'static str, &'static [&'static str], bool)]);

const VERSION_1_TABLES: &[Shape] = &[
    (
        "providers",
        &[
            ("id", INTEGER, true),
            ("provider_key", TEXT, true),
            ("provider_type", TEXT, true),
            ("api_base", TEXT, true),
            ("api_key", TEXT, true),
            ("model_mapping", JSONB, true),
            ("is_enabled", BOOL, true),
            ("created_at", TIME, true),
            ("updated_at", TIME, true),
            ("weight", INTEGER, false),
            ("provider_params", JSONB, false),
            ("lua_script", TEXT, false),
        ],
    ),
    (
        "credentials",
        &[
            ("id", INTEGER, true),
            ("credential_key", TEXT, true),
            ("name", TEXT, true),
            ("allowed_models", JSONB, true),
            ("rate_limit", INTEGER, true),
            ("is_enabled", BOOL, true),
            ("created_at", TIME, true),
            ("updated_at", TIME, true),
        ],
    ),
    ("config_version", &[("id", INTEGER, true), ("version", INTEGER, true), ("updated_at", TIME, true)]),
];

/// The logs of llm-proxy v1, which are absent before some version. Only these types matter, since
/// only text and numbers are written.
const LOGS: &[Shape] = &[
    (
        "error_logs",
        &[("id", INTEGER, true), ("request_id", TEXT, true), ("timestamp", TIME, true), ("error_category", TEXT, true)],
    ),
    (
        "request_logs",
        &[("id", INTEGER, true), ("request_id", TEXT, true), ("timestamp", TIME, true), ("status_code", INTEGER, true)],
    ),
];

/// Columns that later steps add, and that must not exist already.
const OWN: &[(&str, &[&str])] = &[
    ("providers", &["row_version", "model_mapping_written"]),
    (
        "credentials",
        &[
            "burst",
            "tokens_per_minute",
            "max_concurrency",
            "expires_at",
            "previous_key",
            "previous_key_until",
            "metadata",
            "row_version",
        ],
    ),
    ("request_logs", &["cost", "session", "tags", "trace"]),
    ("error_logs", &["model_requested"]),
];
const OWN_TABLES: &[&str] = &["config_removed", "audit_log", "idempotency_keys", "prices", "log_hours"];

const INTEGER: &[&str] = &["int4", "int8"];
const TEXT: &[&str] = &["varchar", "text"];
const JSONB: &[&str] = &["jsonb"];
const BOOL: &[&str] = &["bool"];
const TIME: &[&str] = &["timestamptz"];

pub(super) fn recognise(tables: &Tables) -> Found {
    if tables.contains_key("llm_proxy_migrations") {
        return Found::Reported;
    }
    // llm-proxy v1 leaves its counter behind when it takes all of its steps back.
    if tables.keys().all(|name| name == "schema_migrations") {
        return Found::Nothing;
    }
    let missing: Vec<_> =
        VERSION_1_TABLES.iter().map(|(name, _)| *name).filter(|name| !tables.contains_key(*name)).collect();
    if tables.contains_key("master_keys") && missing.contains(&"credentials") {
        return Found::Other(
            "has the tables of llm-proxy v1 at its schema version 1 (master_keys); bring it to version 2 with llm-proxy v1's \
             own migrations first; nothing was changed"
                .to_owned(),
        );
    }
    if missing.len() == VERSION_1_TABLES.len() {
        let names: Vec<_> = tables.keys().take(3).map(String::as_str).collect();
        return Found::Other(format!(
            "is a database of something else (its tables: {}{}); give llm-proxy a database or a schema of its own; nothing was changed",
            names.join(", "),
            if tables.len() > 3 { ", ..." } else { "" },
        ));
    }
    let mut wrong: Vec<_> = missing.iter().map(|name| format!("there is no table {name}")).collect();
    for (name, columns) in VERSION_1_TABLES.iter().chain(LOGS) {
        if let Some(table) = tables.get(*name) {
            compare(name, columns, table, &mut wrong);
        }
    }
    for (name, columns) in OWN {
        let there = columns.iter().filter(|column| tables.get(*name).is_some_and(|table| table.contains_key(**column)));
        wrong.extend(there.map(|column| format!("{name}.{column} is in the way of our own column")));
    }
    for name in OWN_TABLES.iter().filter(|name| tables.contains_key(**name)) {
        wrong.push(format!("table {name} is in the way of our own"));
    }
    if wrong.is_empty() {
        return Found::Version1;
    }
    Found::Other(format!(
        "looks like a database of llm-proxy v1, but differs from all of its schema versions from 2 on: {}; nothing was changed",
        wrong.join(", ")
    ))
}

fn compare(name: &str, columns: &[(&str, &[&str], bool)], table: &BTreeMap<String, Column>, wrong: &mut Vec<String>) {
    for (column, kinds, always) in columns {
        match table.get(*column) {
            Some(found) if kinds.contains(&found.kind.as_str()) => {}
            Some(found) => wrong.push(format!("{name}.{column} is {}, not {}", found.kind, kinds.join(" or "))),
            None if *always => wrong.push(format!("{name}.{column} is missing")),
            None => {}
        }
    }
    // Columns of others are accepted, unless a row without a value for them is refused. Logs are
    // written by name and known whole elsewhere.
    let known =
        |column: &str| columns.iter().any(|(name, ..)| *name == column) || LOGS.iter().any(|(log, _)| *log == name);
    for (column, found) in table.iter().filter(|(column, found)| found.must_be_given && !known(column)) {
        wrong.push(format!("{name}.{column} ({}) is not known and must not be null", found.kind));
    }
}

/// Returns the tables of the session's current schema.
pub(super) async fn tables(client: &(impl GenericClient + Sync)) -> Result<Tables, tokio_postgres::Error> {
    const SQL: &str = "SELECT c.relname::text, a.attname::text, t.typname::text, \
             a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' \
         FROM pg_class c \
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         LEFT JOIN pg_type t ON t.oid = a.atttypid \
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
         AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')";
    let mut tables = Tables::new();
    for row in client.query_typed(SQL, &[]).await? {
        let table = tables.entry(row.try_get(0)?).or_default();
        if let (Some(name), Some(kind)) = (row.try_get::<_, Option<String>>(1)?, row.try_get(2)?) {
            let must_be_given = row.try_get::<_, Option<bool>>(3)?.unwrap_or_default();
            table.insert(name, Column { kind, must_be_given });
        }
    }
    Ok(tables)
}

/// Returns the steps that a schema with `llm_proxy_migrations` has seen.
pub(super) async fn read_applied(client: &(impl GenericClient + Sync)) -> Result<Vec<Applied>, tokio_postgres::Error> {
    let rows = client.query_typed("SELECT version, checksum FROM llm_proxy_migrations ORDER BY version", &[]).await?;
    rows.iter().map(|row| Ok(Applied { version: row.try_get(0)?, checksum: row.try_get(1)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `table(column kind, column kind!)`; `!` must be given.
    fn tables(text: &str) -> Tables {
        let table = |text: &str| {
            let (name, columns) = text.trim().trim_end_matches(')').split_once('(').unwrap();
            let columns = columns.split(',').map(|column| {
                let (name, kind) = column.trim().split_once(' ').unwrap();
                let must_be_given = kind.ends_with('!');
                (name.to_owned(), Column { kind: kind.trim_end_matches('!').to_owned(), must_be_given })
            });
            (name.to_owned(), columns.collect())
        };
        text.split(';').filter(|text| !text.trim().is_empty()).map(table).collect()
    }

    const VERSION_2: &str = "schema_migrations(version int8!, dirty bool!); \
        providers(id int4, provider_key varchar!, provider_type varchar!, api_base varchar!, api_key varchar!, \
          model_mapping jsonb, is_enabled bool, created_at timestamptz, updated_at timestamptz); \
        credentials(id int4, credential_key varchar!, name varchar!, allowed_models jsonb, rate_limit int4, is_enabled bool, \
          created_at timestamptz, updated_at timestamptz); \
        config_version(id int4, version int8, updated_at timestamptz); ";

    #[test]
    fn what_is_recognised() {
        let other = |tables: &str| match recognise(&crate::control_plane::store::postgres::adopt::tests::tables(tables))
        {
            Found::Other(why) => why,
            found => panic!("{tables}: {found:?}"),
        };
        assert_eq!(recognise(&tables("")), Found::Nothing);
        assert_eq!(recognise(&tables("schema_migrations(version int8!)")), Found::Nothing);
        assert_eq!(recognise(&tables("llm_proxy_migrations(version int4!); x(y int4)")), Found::Reported);
        assert_eq!(recognise(&tables(VERSION_2)), Found::Version1);
        // A table of another program, and columns that fill themselves.
        let more =
            VERSION_2.replace("is_enabled bool,", "is_enabled bool, owner text, cost int4,") + "recipes(id int4)";
        assert_eq!(recognise(&tables(&more)), Found::Version1);

        // changed from, to, part of the error
        let rows = [
            ("api_key varchar!", "api_key bytea!", "providers.api_key is bytea, not varchar or text"),
            ("rate_limit int4, ", "", "credentials.rate_limit is missing"),
            ("credentials(id int4", "credentials(id varchar!", "credentials.id is varchar, not int4 or int8"),
            ("model_mapping jsonb", "model_mapping json", "providers.model_mapping is json, not jsonb"),
            (
                "name varchar!",
                "name varchar!, owner text!",
                "credentials.owner (text) is not known and must not be null",
            ),
            ("name varchar!", "name varchar!, burst int4", "credentials.burst is in the way of our own column"),
            ("schema_migrations(", "audit_log(", "table audit_log is in the way of our own"),
            ("config_version(", "versions(", "there is no table config_version"),
        ];
        for (from, to, part) in rows {
            let why = other(&VERSION_2.replace(from, to));
            assert!(why.contains(part) && why.ends_with("nothing was changed"), "{to}: {why}");
        }
        let why = other("recipes(id int4); a(b int4); c(d int4); z(z int4)");
        assert!(why.starts_with("is a database of something else (its tables: a, c, recipes, ...)"), "{why}");
        let why = other(&VERSION_2.replace("credentials(", "master_keys("));
        assert!(why.starts_with("has the tables of llm-proxy v1 at its schema version 1"), "{why}");
    }
}
