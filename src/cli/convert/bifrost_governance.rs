//! `governance` of a Bifrost configuration: virtual keys become credentials, teams and customers
//! groups, and budgets budgets.

use super::bifrost_values::{Lists, env, value};
use super::import::{Import, Spending, free, rate, variable};
use super::tree::{is_empty, items, member, number, pairs, text, whole};
use crate::cli::key::hash;
use crate::config::file::yaml::{Node, Value};
use crate::config::rows::{CredentialRow, GroupRow};
use crate::rfc3339;

/// What the parts of the section refer to by id.
struct Shared<'n> {
    limits: &'n [Node],
    budgets: &'n [Node],
    /// Ids of teams and customers with the names of their groups.
    groups: Vec<(&'static str, &'n str, String)>,
}

/// Members that are read here, for every kind of owner.
const KNOWN: &[&str] = &["id", "name", "description", "rate_limit_id", "rate_limit", "budget_id", "budgets", "budget"];

pub(super) fn read(node: &Node, lists: Lists, import: &mut Import) {
    let list = |name: &str| member(node, name).map(items).unwrap_or_default();
    let mut shared = Shared { limits: list("rate_limits"), budgets: list("budgets"), groups: Vec::new() };
    for (kind, reference) in [("customers", "customer_id"), ("teams", "team_id")] {
        for (at, node) in list(kind).iter().enumerate() {
            let path = format!("governance.{kind}[{at}]");
            group(&path, reference, node, &mut shared, import);
        }
    }
    for (at, key) in list("virtual_keys").iter().enumerate() {
        virtual_key(at, key, lists, &shared, import);
    }
    for (at, node) in list("providers").iter().enumerate() {
        provider(&format!("governance.providers[{at}]"), node, &shared, import);
    }
    for (field, node) in pairs(node) {
        const READ: &[&str] = &["virtual_keys", "rate_limits", "budgets", "teams", "customers", "providers"];
        let is_read = READ.contains(&field.as_str());
        if !is_read && !is_empty(node) {
            import.leave_field(node.line, &format!("governance.{field}"));
        }
    }
    let owners = || ["virtual_keys", "teams", "customers"].into_iter().flat_map(list);
    unused_limits(&shared, &owners().collect::<Vec<_>>(), import);
    for (at, budget) in shared.budgets.iter().enumerate() {
        let id = get(budget, "id").and_then(text);
        let is_named =
            id.is_some() && owners().chain(list("providers")).any(|owner| get(owner, "budget_id").and_then(text) == id);
        if !is_named && !["virtual_key_id", "team_id", "customer_id"].iter().any(|owner| get(budget, owner).is_some()) {
            let message = format!(
                "governance.budgets[{at}] is of no virtual key, team, customer or provider and is not carried over"
            );
            import.leave(budget.line, message);
        }
    }
}

/// Gives a provider its budget, if it is one provider here.
fn provider(path: &str, node: &Node, shared: &Shared<'_>, import: &mut Import) {
    let name = get(node, "name").or_else(|| get(node, "provider")).and_then(text).unwrap_or_default();
    let wanted = get(node, "budget_id").and_then(text);
    let is_wanted = |budget: &&Node| wanted.is_some() && get(budget, "id").and_then(text) == wanted;
    for budget in get(node, "budget").into_iter().chain(shared.budgets.iter().filter(is_wanted)) {
        let time = get(budget, "reset_duration").and_then(text);
        match Spending::new(member(budget, "max_limit").and_then(number), time) {
            Ok(spending) if import.bound_vendor(name, &spending) => {}
            Ok(_) => import.leave(node.line, format!("{path}: its budget is not that of one provider here")),
            Err(why) => import.leave(budget.line, format!("{path}: its budget is not carried over: {why}")),
        }
    }
    for (field, node) in pairs(node) {
        if !matches!(field.as_str(), "id" | "name" | "provider" | "budget_id" | "budget") && !is_empty(node) {
            import.leave_field(node.line, &format!("{path}.{field}"));
        }
    }
}

/// Names the limits that nobody has.
fn unused_limits(shared: &Shared<'_>, owners: &[&Node], import: &mut Import) {
    for (at, limit) in shared.limits.iter().enumerate() {
        let id = get(limit, "id").and_then(text);
        if id.is_none() || !owners.iter().any(|owner| get(owner, "rate_limit_id").and_then(text) == id) {
            let message =
                format!("governance.rate_limits[{at}] is of no virtual key, team or customer and is not carried over");
            import.leave(limit.line, message);
        }
    }
}

fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    member(node, name).filter(|node| !is_empty(node))
}

/// Reads a team or a customer. Customers come first, and teams belong to them.
fn group<'n>(path: &str, reference: &'static str, node: &'n Node, shared: &mut Shared<'n>, import: &mut Import) {
    let Some(id) = get(node, "id").and_then(text) else {
        return import.leave(node.line, format!("{path} has no id and is not carried over"));
    };
    let wanted = get(node, "name").and_then(text).unwrap_or(id);
    let name = free(wanted, &|name: &str| import.groups.iter().any(|row| row.name == name));
    let parent = parent(path, node, shared, import);
    let (rate_limit, tokens_per_minute) = rates(path, node, ("group", &name), shared, import);
    import.groups.push(GroupRow {
        name: name.clone(),
        parent,
        allowed_models: "[]".to_owned(),
        rate_limit,
        tokens_per_minute,
        metadata: "{}".to_owned(),
        is_enabled: true,
        ..GroupRow::default()
    });
    budgets(path, node, ("group", &name), (reference, id), shared, import);
    shared.groups.push((reference, id, name));
    leave_rest(path, node, &["customer_id"], import);
}

/// Returns the name of the group of the team or customer that `node` names.
fn parent(path: &str, node: &Node, shared: &Shared<'_>, import: &mut Import) -> Option<String> {
    let (reference, owner) =
        ["team_id", "customer_id"].into_iter().find_map(|reference| Some((reference, get(node, reference)?)))?;
    let found = shared.groups.iter().find(|(of, known, _)| *of == reference && Some(*known) == text(owner));
    if found.is_none() {
        import.leave(owner.line, format!("{path}.{reference} is not in this file; its limits are not carried over"));
    }
    found.map(|(_, _, name)| name.clone())
}

/// Returns requests per second and tokens per minute. Tokens of a longer time than a minute become
/// a budget; requests of such a time have no counterpart, since a rate would refuse what the limit
/// allows at once.
fn rates(
    path: &str,
    node: &Node,
    (scope, subject): (&str, &str),
    shared: &Shared<'_>,
    import: &mut Import,
) -> (Option<i64>, Option<i64>) {
    let wanted = get(node, "rate_limit_id");
    let by_id = |id: &Node| shared.limits.iter().find(|limit| member(limit, "id").and_then(text) == text(id));
    let Some(limits) = get(node, "rate_limit").or_else(|| wanted.and_then(by_id)) else {
        if let Some(wanted) = wanted {
            import.leave(wanted.line, format!("{path}.rate_limit_id is of no limit in this file"));
        }
        return (None, None);
    };
    let requests = limit(path, "request", limits, import).and_then(|limit| match limit.window {
        _ if limit.most == 0 => Some(0),
        1..=MINUTE => {
            let rate = rate(limit.most, limit.window);
            if rate.checked_mul(limit.window) != Some(limit.most) {
                let message = format!("{path}: {} requests per {} became {rate} per second", limit.most, limit.time);
                import.leave(limits.line, message);
            }
            Some(rate)
        }
        _ => {
            let message = format!(
                "{path}: its limit of {} requests per {} is not carried over; limits of requests are per second here",
                limit.most, limit.time
            );
            import.leave(limits.line, message);
            None
        }
    });
    let tokens = limit(path, "token", limits, import).and_then(|limit| match limit.window {
        _ if limit.most == 0 => Some(0),
        1..=MINUTE => Some((limit.most.saturating_mul(MINUTE) / limit.window).max(1)),
        _ => {
            match Spending::of_tokens(limit.most, limit.time) {
                Ok(spending) => import.add_budget(scope, subject, &spending),
                Err(why) => {
                    import.leave(limits.line, format!("{path}: its limit of tokens is not carried over: {why}"));
                }
            }
            None
        }
    });
    (requests, tokens)
}

const MINUTE: i64 = 60;

/// So many in a window of time.
struct Limit<'n> {
    most: i64,
    /// The window as it is written.
    time: &'n str,
    /// The window in seconds, at least one.
    window: i64,
}

/// Reads `request_max_limit` and `request_reset_duration`, or those of tokens.
fn limit<'n>(path: &str, what: &str, node: &'n Node, import: &mut Import) -> Option<Limit<'n>> {
    let most = get(node, &format!("{what}_max_limit"))?;
    let time = get(node, &format!("{what}_reset_duration")).and_then(text);
    let window = time.and_then(seconds).filter(|window| *window > 0);
    match (whole(most).filter(|most| *most >= 0), time, window) {
        (Some(most), Some(time), Some(window)) => Some(Limit { most, time, window }),
        _ => {
            let message = format!("{path}: its {what}_max_limit is not carried over: it is no number for a time");
            import.leave(most.line, message);
            None
        }
    }
}

/// Adds the budgets of an owner: those in it, the one that it names, and those that name it.
fn budgets(
    path: &str,
    node: &Node,
    (scope, subject): (&str, &str),
    (reference, id): (&str, &str),
    shared: &Shared<'_>,
    import: &mut Import,
) {
    let wanted = get(node, "budget_id").and_then(text);
    let is_own = |budget: &&Node| {
        (wanted.is_some() && member(budget, "id").and_then(text) == wanted)
            || member(budget, reference).and_then(text) == Some(id)
    };
    let inner = get(node, "budgets").map(items).unwrap_or_default().iter().chain(get(node, "budget"));
    for budget in inner.chain(shared.budgets.iter().filter(is_own)) {
        let time = get(budget, "reset_duration").and_then(text);
        match Spending::new(member(budget, "max_limit").and_then(number), time) {
            Ok(spending) => import.add_budget(scope, subject, &spending),
            Err(why) => import.leave(budget.line, format!("{path}: its budget is not carried over: {why}")),
        }
    }
}

fn leave_rest(path: &str, node: &Node, known: &[&str], import: &mut Import) {
    for (field, node) in pairs(node) {
        if !KNOWN.contains(&field.as_str()) && !known.contains(&field.as_str()) && !is_empty(node) {
            // Windows are always those of the calendar here.
            if field != "calendar_aligned" {
                import.leave_field(node.line, &format!("{path}.{field}"));
            }
        }
    }
}

/// A virtual key is a credential: what it may use, and how much.
fn virtual_key(at: usize, node: &Node, lists: Lists, shared: &Shared<'_>, import: &mut Import) {
    let path = format!("governance.virtual_keys[{at}]");
    // The id is no secret, and so it must not become the key.
    let Some(given) = get(node, "value").and_then(value) else {
        return import.leave(node.line, format!("{path} has no value and is not carried over"));
    };
    let credential_key = env(&given).map_or_else(|| hash(&given), variable);
    let wanted = get(node, "name").and_then(text).map_or_else(|| format!("bifrost-{}", at + 1), str::to_owned);
    let name = free(&wanted, &|name: &str| import.credentials.iter().any(|row| row.name == name));
    let expires = get(node, "expires_at");
    let expires_at = expires.and_then(text).and_then(rfc3339::parse);
    if let Some(expires) = expires.filter(|_| expires_at.is_none()) {
        import.leave(expires.line, format!("{path}.expires_at is no time that could be read, so it is disabled"));
    }
    let is_active = !matches!(member(node, "is_active").map(|node| &node.value), Some(Value::Bool(false)));
    let allowed = allowed(&path, node, lists, import);
    let (rate_limit, tokens_per_minute) = rates(&path, node, ("credential", &name), shared, import);
    let group_name = parent(&path, node, shared, import);
    let row = CredentialRow {
        credential_key,
        name: name.clone(),
        group_name,
        is_enabled: is_active && allowed.is_some() && (expires_at.is_some() || expires.is_none()),
        allowed_models: allowed.unwrap_or_else(|| "[]".to_owned()),
        rate_limit,
        tokens_per_minute,
        expires_at,
        metadata: "{}".to_owned(),
        ..CredentialRow::default()
    };
    import.credentials.push(row);
    let id = get(node, "id").and_then(text).unwrap_or_default();
    budgets(&path, node, ("credential", &name), ("virtual_key_id", id), shared, import);
    const OF_KEYS: &[&str] = &["value", "is_active", "expires_at", "provider_configs", "team_id", "customer_id"];
    leave_rest(&path, node, OF_KEYS, import);
}

/// Returns what a virtual key may use, as JSON; `None` if that is nothing.
fn allowed(path: &str, key: &Node, lists: Lists, import: &mut Import) -> Option<String> {
    let mut allowed = Vec::new();
    let configs = member(key, "provider_configs").map(items).unwrap_or_default();
    for (at, config) in configs.iter().enumerate() {
        let path = format!("{path}.provider_configs[{at}]");
        let provider = member(config, "provider").and_then(text).unwrap_or_default();
        let models: Vec<&str> =
            member(config, "allowed_models").map(items).unwrap_or_default().iter().filter_map(text).collect();
        if models.contains(&"*") || (models.is_empty() && lists == Lists::EmptyIsAll) {
            allowed.push(format!("{provider}/*"));
        } else {
            allowed.extend(models.iter().flat_map(|model| [format!("{provider}/{model}"), (*model).to_owned()]));
        }
        for (field, node) in pairs(config) {
            let is_all = items(node).iter().any(|item| text(item) == Some("*"));
            if !matches!(field.as_str(), "provider" | "allowed_models") && !is_empty(node) && !is_all {
                import.leave_field(node.line, &format!("{path}.{field}"));
            }
        }
    }
    if allowed.is_empty() && !(configs.is_empty() && lists == Lists::EmptyIsAll) {
        let message =
            format!("{path} may use nothing, and is disabled; with \"version\": 1 an empty list is everything");
        import.leave(key.line, message);
        return None;
    }
    Some(serde_json::Value::from(allowed).to_string())
}

/// Reads a length of time such as `30s`, `1m`, `1h`, `1d`, `1w`, `1M` or `1Y`, in seconds.
fn seconds(text: &str) -> Option<i64> {
    const DAY: i64 = 86_400;
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        'w' => 7 * DAY,
        'M' => 30 * DAY,
        'Y' => 365 * DAY,
        _ => return None,
    };
    count.checked_mul(seconds)
}
