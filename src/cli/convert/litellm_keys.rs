//! Keys of LiteLLM's database. Their `token` is the SHA-256 of the key in hex, as `credential_key`
//! is here, so that clients go on with the keys that they have.

use super::import::{Import, Spending, free, rate};
use super::tree::{is_empty, items, member, number, pairs, text, whole};
use crate::cli::key::hash;
use crate::config::file::yaml::{Node, Value};
use crate::config::rows::CredentialRow;
use crate::rfc3339;

/// `root` is a list of rows, or an object with the list under `keys`.
pub(super) fn read(root: &Node, import: &mut Import) {
    let list = member(root, "keys").unwrap_or(root);
    if !matches!(list.value, Value::List(_)) {
        return import.leave(root.line, "this is no list of keys, and has none under `keys`");
    }
    items(list).iter().enumerate().for_each(|(at, node)| key(at, node, import));
}

/// Fields that a listing adds, or that have a meaning at LiteLLM only and limit nothing. They are
/// left out without a note.
const QUIET: &[&str] = &[
    "token",
    "token_id",
    "key_name",
    "key_alias",
    "models",
    "team_models",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
    "expires",
    "blocked",
    "metadata",
    "spend",
    "created_at",
    "updated_at",
    "created_by",
    "updated_by",
    "last_active",
    "budget_reset_at",
    "max_budget",
    "budget_duration",
    "rotation_count",
    "soft_budget_cooldown",
];

fn key(at: usize, node: &Node, import: &mut Import) {
    let get = |name: &str| member(node, name).filter(|node| !is_empty(node));
    let Some(token) = get("token").or_else(|| get("key")).and_then(text) else {
        return import.leave(node.line, format!("keys[{at}] has no token and is not carried over"));
    };
    let credential_key = if token.starts_with("sk-") { hash(token) } else { token.to_ascii_lowercase() };
    let short: String = credential_key.chars().take(8).collect();
    let alias = get("key_alias").and_then(text).map(str::to_owned);
    let name = unused(alias.unwrap_or_else(|| format!("litellm-{short}")), import);
    if let Some(limit) = get("rpm_limit").filter(|node| whole(node).is_some_and(|limit| limit % 60 != 0)) {
        let rate = whole(limit).map_or(0, per_minute);
        let message = format!("key {name}: rpm_limit {} became {rate} per second", text(limit).unwrap_or_default());
        import.leave(limit.line, message);
    }
    let rate_limit = get("rpm_limit").and_then(whole).map(per_minute);
    let expires_at = get("expires").and_then(text).and_then(|text| {
        // The database has no zone, and means UTC.
        rfc3339::parse(text).or_else(|| rfc3339::parse(&format!("{}Z", text.replace(' ', "T"))))
    });
    if let Some(expires) = get("expires").filter(|_| expires_at.is_none()) {
        import.leave(expires.line, format!("key {name}: expires is no time that could be read, so it is disabled"));
    }
    let allowed_models = models(get("models"), get("team_id").is_some(), get("team_models"), import);
    if allowed_models.is_none() {
        let message = format!(
            "key {name}: the models of its team are not known here, so it is disabled; give it models and enable it"
        );
        import.leave(node.line, message);
    }
    let metadata = get("metadata").filter(|node| matches!(node.value, Value::Map(_)));
    let row = CredentialRow {
        credential_key,
        rate_limit,
        tokens_per_minute: get("tpm_limit").and_then(whole),
        max_concurrency: get("max_parallel_requests").and_then(whole),
        expires_at,
        metadata: metadata.map_or_else(|| "{}".to_owned(), Node::json),
        is_enabled: allowed_models.is_some()
            && get("blocked").is_none()
            && (expires_at.is_some() || get("expires").is_none()),
        // An empty list would be every model as soon as somebody enables the key.
        allowed_models: allowed_models.unwrap_or_else(|| format!("[\"{OF_TEAM}\"]")),
        name: name.clone(),
        ..CredentialRow::default()
    };
    import.credentials.push(row);
    if let Some(amount) = get("max_budget") {
        match Spending::new(number(amount), get("budget_duration").and_then(text)) {
            Ok(spending) => {
                import.add_budget("credential", &name, &spending);
                if get("spend").and_then(number).is_some_and(|spent| spent > 0.0) {
                    let message = format!("key {name}: its budget begins anew; what was spent is not carried over");
                    import.leave(amount.line, message);
                }
            }
            Err(why) => import.leave(amount.line, format!("key {name}: max_budget is not carried over: {why}")),
        }
    }
    for (field, node) in pairs(node) {
        if !QUIET.contains(&field.as_str()) && field != "key" && !is_empty(node) {
            import.leave_field(node.line, &format!("key {name}: {field}"));
        }
    }
}

fn unused(name: String, import: &Import) -> String {
    free(&name, &|name: &str| import.credentials.iter().any(|row| row.name == name))
}

/// Requests per second of a limit per minute.
fn per_minute(limit: i64) -> i64 {
    rate(limit, 60)
}

/// The name that stands for the models of the team in a key's list.
const OF_TEAM: &str = "all-team-models";

/// Returns the models of a key as JSON; `None` if they are those of a team which are not known. A
/// key of a team that may use everything may use what the team may.
fn models(node: Option<&Node>, is_of_team: bool, of_team: Option<&Node>, import: &Import) -> Option<String> {
    let names: Vec<&str> = node.map(items).unwrap_or_default().iter().filter_map(text).collect();
    let known = expanded(&names, import);
    let is_all = known.as_ref().is_none_or(Vec::is_empty);
    let known = match names.contains(&OF_TEAM) || (is_of_team && is_all) {
        true => {
            // An empty list is not told from one that the export leaves out.
            let names: Vec<&str> = items(of_team?).iter().filter_map(text).collect();
            if names.is_empty() || names.contains(&OF_TEAM) {
                return None;
            }
            expanded(&names, import)
        }
        false => known,
    };
    Some(serde_json::Value::from(known.unwrap_or_default()).to_string())
}

/// Returns the models with those of access groups; `None` is every model.
fn expanded<'a>(names: &[&'a str], import: &'a Import) -> Option<Vec<&'a str>> {
    let mut models = Vec::new();
    for name in names {
        match *name {
            "all-proxy-models" | "*" => return None,
            group if import.access_groups.iter().any(|(known, _)| known == group) => {
                let members = import.access_groups.iter().filter(|(known, _)| known == group);
                models.extend(members.map(|(_, model)| model.as_str()));
            }
            // `no-default-models` stands for none, and an empty list would be all.
            model => models.push(model),
        }
    }
    models.dedup();
    Some(models)
}
