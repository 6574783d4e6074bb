//! Databases of llm-proxy v1, as its own migrations left them, and others.

use llm_proxy::control_plane::store::Fault;

use crate::support::postgres::Db;
use crate::support::*;

/// What each version of that service added; a version that is not here added nothing that stayed.
fn schema(version: u32) -> String {
    let mut sql = String::from(
        "CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, dirty BOOLEAN NOT NULL);
         CREATE TABLE providers (
             id SERIAL PRIMARY KEY, provider_key VARCHAR(255) UNIQUE NOT NULL, provider_type VARCHAR(50) NOT NULL,
             api_base VARCHAR(500) NOT NULL, api_key VARCHAR(500) NOT NULL, model_mapping JSONB NOT NULL DEFAULT '{}',
             is_enabled BOOLEAN NOT NULL DEFAULT true, created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
             updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
         CREATE TABLE credentials (
             id SERIAL PRIMARY KEY, credential_key VARCHAR(255) UNIQUE NOT NULL, name VARCHAR(255) NOT NULL,
             allowed_models JSONB NOT NULL DEFAULT '[]', rate_limit INTEGER, is_enabled BOOLEAN NOT NULL DEFAULT true,
             created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
         CREATE TABLE config_version (
             id INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1), version BIGINT NOT NULL DEFAULT 0,
             updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
         INSERT INTO config_version (id, version) VALUES (1, 0);
         CREATE INDEX idx_providers_provider_key ON providers (provider_key);
         CREATE INDEX idx_providers_is_enabled ON providers (is_enabled);
         CREATE INDEX idx_credentials_credential_key ON credentials (credential_key);
         CREATE INDEX idx_credentials_is_enabled ON credentials (is_enabled);
         CREATE FUNCTION increment_config_version() RETURNS TRIGGER AS $$
         BEGIN
             UPDATE config_version SET version = version + 1, updated_at = NOW() WHERE id = 1;
             RETURN NULL;
         END;
         $$ LANGUAGE plpgsql;
         CREATE TRIGGER trg_providers_version AFTER INSERT OR UPDATE OR DELETE ON providers
             FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();
         CREATE TRIGGER trg_credentials_version AFTER INSERT OR UPDATE OR DELETE ON credentials
             FOR EACH STATEMENT EXECUTE FUNCTION increment_config_version();",
    );
    let steps = [
        (
            3,
            "ALTER TABLE providers ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
             CREATE INDEX idx_providers_enabled_weight ON providers (is_enabled, weight) WHERE is_enabled = true;",
        ),
        (4, "ALTER TABLE providers ADD COLUMN provider_params JSONB NOT NULL DEFAULT '{}';"),
        (
            6,
            "CREATE TABLE error_logs (
                 id BIGSERIAL PRIMARY KEY, request_id VARCHAR(64) NOT NULL, timestamp TIMESTAMPTZ NOT NULL DEFAULT now(),
                 error_category VARCHAR(32) NOT NULL, error_code INTEGER, error_message TEXT, endpoint VARCHAR(255),
                 client_protocol VARCHAR(32), request_headers JSONB, request_body JSONB, provider_name VARCHAR(255),
                 provider_api_base VARCHAR(500), provider_protocol VARCHAR(32), mapped_model VARCHAR(255),
                 response_status_code INTEGER, response_body JSONB, total_duration_ms INTEGER, credential_name VARCHAR(255),
                 client VARCHAR(255), is_streaming BOOLEAN DEFAULT false, provider_request_body JSONB,
                 provider_request_headers JSONB);
             CREATE INDEX idx_error_logs_request_id ON error_logs (request_id);
             INSERT INTO error_logs (request_id, error_category) VALUES ('r1', 'timeout');",
        ),
        (
            8,
            "CREATE TABLE request_logs (
                 id BIGSERIAL PRIMARY KEY, timestamp TIMESTAMPTZ NOT NULL DEFAULT now(), request_id VARCHAR(64) NOT NULL,
                 endpoint VARCHAR(255), credential_name VARCHAR(255), model_requested VARCHAR(255), model_mapped VARCHAR(255),
                 provider_name VARCHAR(255), provider_type VARCHAR(50), client_protocol VARCHAR(50),
                 provider_protocol VARCHAR(50), is_streaming BOOLEAN DEFAULT false, status_code INTEGER,
                 input_tokens INTEGER DEFAULT 0, output_tokens INTEGER DEFAULT 0, total_tokens INTEGER DEFAULT 0,
                 total_duration_ms INTEGER, ttft_ms INTEGER, error_category VARCHAR(50), error_message TEXT,
                 request_body TEXT, response_body TEXT, request_headers TEXT);
             CREATE INDEX idx_request_logs_timestamp ON request_logs (timestamp);
             INSERT INTO request_logs (request_id, status_code) VALUES ('r1', 200), ('r2', 500);",
        ),
        (9, "ALTER TABLE providers ADD COLUMN lua_script TEXT;"),
    ];
    for (_, step) in steps.iter().filter(|(number, _)| *number <= version) {
        sql.push_str(step);
    }
    sql + &format!(
        "INSERT INTO schema_migrations VALUES ({version}, false);
         INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, is_enabled, updated_at) VALUES
             ('main', 'openai', 'https://api.example.com/v1', 'sk-provider', '{{\"gpt-4\": \"gpt-4o\"}}', true, '2024-01-02Z'),
             ('vertex', 'gcp-vertex', 'https://vertex.example.com', 'ya29', '{{}}', true, '2024-01-02Z'),
             ('off', 'anthropic', 'https://a.example.com', 'sk-ant', '{{}}', false, '2024-01-02Z');
         INSERT INTO credentials (credential_key, name, allowed_models, rate_limit) VALUES
             ('{:064x}', 'team', '[\"gpt-4\"]', 5), ('{:064x}', 'free', '[]', NULL);",
        1, 2
    )
}

/// Rows of a database, each as its tables had them.
fn rows(db: &Db, columns: &str) -> Vec<String> {
    let mut rows = db.sql(&format!("SELECT {columns} FROM providers ORDER BY id"));
    rows.extend(db.sql("SELECT id, credential_key, name, allowed_models, rate_limit, is_enabled, created_at, updated_at FROM credentials ORDER BY id"));
    rows.extend(db.sql("SELECT * FROM config_version"));
    rows.extend(db.sql("SELECT * FROM schema_migrations"));
    rows
}

/// Of a dump, save what moves on (counters, times of changes), and the body of a function, which is
/// written anew.
fn lines(dump: &str) -> Vec<&str> {
    let moved = ["setval", "INTO public.config_version", "INTO public.providers"];
    let body = |line: &str| line.starts_with("         ");
    dump.lines().filter(|line| !body(line) && !moved.iter().any(|moved| line.contains(moved))).collect()
}

/// Its tables are complete, so it is adopted, and the log reports the mark.
#[test]
fn a_database_that_was_left_dirty_is_a_problem() {
    let db = Db::new();
    db.sql(&schema(9));
    db.sql("UPDATE schema_migrations SET dirty = true");
    let admin = "a-long-admin-key";
    for _ in 0..2 {
        let gateway = Setup::new().env("DB_URL", db.url()).env("ADMIN_KEY", admin).start();
        gateway.expect_log(&["WARN", "marked as dirty"]);
        let mut client = gateway.client();
        client.ask(&get("/admin/v1/config/problems").key(admin));
        let problems = client.response().json()["problems"].clone();
        assert!(problems.as_array().unwrap().iter().any(|problem| problem["object"] == "store"), "{problems}");
    }
    db.sql("UPDATE schema_migrations SET dirty = false");
    let gateway = Setup::new().env("DB_URL", db.url()).start();
    assert!(!gateway.log().iter().any(|line| line.contains("marked as dirty")));
}

#[test]
fn each_version_is_taken_up_and_nothing_is_lost() {
    for version in [2, 3, 4, 6, 8, 9] {
        let db = Db::new();
        db.sql(&schema(version));
        let mut columns =
            "id, provider_key, provider_type, api_base, api_key, model_mapping, is_enabled, created_at, updated_at"
                .to_owned();
        if version >= 4 {
            db.sql("UPDATE providers SET weight = 7, provider_params = '{\"x\": 1}' WHERE provider_key = 'main'");
            columns.push_str(", weight, provider_params");
        }
        if version >= 9 {
            db.sql("UPDATE providers SET lua_script = 'function on_request(ctx) end' WHERE provider_key = 'off'");
            columns.push_str(", lua_script");
        }
        let before = rows(&db, &columns);
        let dump = db.dump();

        let store = db.store();
        let read = store.load().unwrap();
        assert_eq!(rows(&db, &columns), before, "version {version}");
        let providers: Vec<_> =
            read.providers.iter().map(|row| (row.provider_key.as_str(), row.weight, row.is_enabled)).collect();
        let weight = if version >= 4 { 7 } else { 1 };
        assert_eq!(providers, [("main", weight, true), ("vertex", 1, true), ("off", 1, false)], "version {version}");
        assert_eq!(read.providers[2].lua_script.is_some(), version >= 9);
        let credentials: Vec<_> = read.credentials.iter().map(|row| (row.name.as_str(), row.rate_limit)).collect();
        assert_eq!(credentials, [("team", Some(5)), ("free", None)], "version {version}");
        let logs = |table: &str| db.sql(&format!("SELECT count(*) FROM {table}")).join("");
        assert_eq!(logs("error_logs"), if version >= 6 { "1" } else { "0" });
        assert_eq!(logs("request_logs"), if version >= 8 { "2" } else { "0" });

        // That service can go on beside us, and its writes are seen.
        let since = read.version;
        db.sql("UPDATE providers SET model_mapping = '{\"a\": \"b\"}' WHERE provider_key = 'main'");
        assert_eq!(store.version().unwrap(), since + 1);
        db.sql("INSERT INTO credentials (credential_key, name, allowed_models) VALUES ('x', 'new', '[]')");
        assert_eq!(store.load().unwrap().credentials.len(), 3);
        store.revoke_credential(3).unwrap();
        db.sql("UPDATE providers SET model_mapping = '{\"gpt-4\": \"gpt-4o\"}' WHERE provider_key = 'main'");

        // And we can go: what is left is what that service knows, at its newest version.
        drop(store);
        assert!(db.cli(&["migrate", "down", "--to", "0", "--yes"]).status.success());
        assert!(!db.dump().contains("llm_proxy"));
        if version == 9 {
            let after = db.dump();
            let (after, before) = (lines(&after), lines(&dump));
            let lost: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
            assert!(lost.is_empty(), "{lost:#?}");
        }
        let again = db.store().load().unwrap();
        assert_eq!((again.providers.len(), again.credentials.len()), (3, 2));
    }
}

/// What this version can't serve is never sent in a format that it is not in, and waits for one
/// that can.
#[test]
fn unserved_rows_are_kept_and_reported() {
    let provider = Fake::answering(|_| answer::json(200, "{}"));
    for version in [2, 9] {
        let db = Db::new();
        db.sql(&schema(version));
        let types = ["gemini", "gcp-gemini", "Vertex", "gcp_vertex"];
        for kind in types {
            db.sql(&format!(
                "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping) VALUES \
                 ('p-{kind}', '{kind}', 'https://x.example.com', 'k', '{{\"m\": \"{kind}\", \"only-{kind}\": \"m\"}}')"
            ));
        }
        let scripted = "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, lua_script) VALUES \
                        ('p-script', 'openai', 'https://x.example.com', 'k', '{\"m\": \"script\"}', 'function on_request(ctx) end')";
        if version == 9 {
            db.sql(scripted);
        }
        db.sql(&format!("UPDATE providers SET api_base = '{}'", provider.url("/v1")));
        db.sql(r#"UPDATE providers SET model_mapping = '{"m": "main"}' WHERE provider_key = 'main'"#);
        let hash = credential(KEY).credential_key;
        db.sql(&format!("INSERT INTO credentials (credential_key, name) VALUES ('{hash}', 'known')"));
        let before =
            db.sql("SELECT id, provider_key, provider_type, api_key, model_mapping FROM providers ORDER BY id");

        let gateway = Setup::new().no_credentials().env("DB_URL", db.url()).env("ADMIN_KEY", "admin-key").start();
        let mut client = gateway.client();
        let mut admin = |path: &str| {
            client.ask(&get(path).key("admin-key"));
            let answer = client.response();
            assert_eq!(answer.status, 200, "{path}");
            answer.json()
        };
        let listed = admin("/admin/v1/providers");
        assert_eq!(listed["providers"].as_array().unwrap().len(), before.len());
        let problems = admin("/admin/v1/config/problems").to_string();
        for kind in types.iter().copied().chain(["gcp-vertex"]) {
            assert!(problems.contains(&format!("type `{kind}` is not served by this version")), "{kind}: {problems}");
        }
        assert_eq!(problems.contains("lua_script is not served by this version"), version == 9, "{problems}");

        let received = provider.requests().len();
        for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
            for _ in 0..6 {
                let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}],"input":"hi"}"#;
                client.call(path, body);
            }
        }
        assert_eq!(client.call("/v1/chat/completions", r#"{"model":"only-gemini","messages":[]}"#).status, 404);
        let requests = provider.requests();
        assert!(requests.len() > received, "the others are served");
        assert!(requests.iter().skip(received).all(|request| request.json()["model"] == "main"));
        let after = db.sql("SELECT id, provider_key, provider_type, api_key, model_mapping FROM providers ORDER BY id");
        assert_eq!(after, before);
    }
}

#[test]
fn anything_else_is_refused_with_nothing_changed() {
    // what is done to a database of version 9, what is said
    let rows = [
        ("DROP TABLE config_version", "there is no table config_version"),
        ("ALTER TABLE credentials DROP COLUMN rate_limit", "credentials.rate_limit is missing"),
        ("ALTER TABLE providers ALTER COLUMN model_mapping TYPE TEXT", "providers.model_mapping is text, not jsonb"),
        ("ALTER TABLE credentials ADD COLUMN burst INTEGER", "credentials.burst is in the way of our own column"),
        (
            "ALTER TABLE providers ADD COLUMN tenant TEXT; UPDATE providers SET tenant = 'x'; ALTER TABLE providers ALTER COLUMN tenant SET NOT NULL",
            "providers.tenant (text) is not known",
        ),
        ("ALTER TABLE credentials RENAME TO master_keys", "at its schema version 1"),
        (
            "DROP TABLE providers, credentials, config_version; CREATE TABLE recipes (id INTEGER)",
            "is a database of something else",
        ),
        ("CREATE VIEW seen AS SELECT api_key FROM providers", "cannot alter type of a column used by a view"),
    ];
    for (change, reported_text) in rows {
        let db = Db::new();
        db.sql(&schema(9));
        db.sql(change);
        let before = db.dump();
        let error = db.store().load().unwrap_err();
        assert!(error.message.contains(reported_text), "{change}: {error}");
        assert_eq!(error.fault == Fault::Version, !reported_text.starts_with("cannot"), "{error}");
        assert_eq!(db.dump(), before, "{change}");
    }
}
