//! What a budget can be of.

/// What a budget can be of: its name in the interface, its title, and the page that lists such
/// rows.
pub(super) const SCOPES: &[(&str, &str, &str)] = &[
    ("credential", "key", "/ui/keys"),
    ("group", "group", "/ui/groups"),
    ("tag", "tag", ""),
    ("provider", "provider", "/ui/providers"),
];
