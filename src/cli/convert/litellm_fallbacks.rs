//! Fallbacks of a LiteLLM configuration. Those for any failure become providers of later tiers, and
//! those for a prompt that is too long or refused become virtual models.

use serde_json::{Value, json};

use super::import::{Draft, Import, serving};
use crate::config::rows::ModelRow;

/// A fallback: from which model, to which others, and its position.
#[derive(Debug)]
pub(super) struct Fallback {
    /// `None`: from every model that has none of its own.
    pub(super) from: Option<String>,
    pub(super) to: Vec<String>,
    /// The line of the file, from 1.
    pub(super) line: usize,
}

/// The fallbacks of a file, by what leads to them.
#[derive(Debug, Default)]
pub(super) struct Fallbacks {
    pub(super) of_failures: Vec<Fallback>,
    pub(super) of_length: Vec<Fallback>,
    pub(super) of_content: Vec<Fallback>,
}

/// Serves each model by the providers of its fallbacks too, in the tiers behind its own. Keys that
/// may use the model get its fallbacks, as they do at LiteLLM.
pub(super) fn add_standbys(fallbacks: &[Fallback], import: &mut Import) {
    let own: Vec<&String> = fallbacks.iter().filter_map(|fallback| fallback.from.as_ref()).collect();
    let sources = import.providers.clone();
    let is_known = |model: &String| !serving(&sources, model).is_empty();
    for fallback in fallbacks {
        let from: Vec<String> = match &fallback.from {
            Some(from) if is_known(from) => vec![from.clone()],
            Some(from) => {
                import.leave(fallback.line, format!("the fallback of `{from}` is not carried: there is no such model"));
                continue;
            }
            None => {
                let mut from: Vec<String> = sources
                    .iter()
                    .flat_map(|draft| draft.models.iter().map(|(model, ..)| model.clone()))
                    .filter(|model| !own.contains(&model))
                    .collect();
                from.sort();
                from.dedup();
                let (patterns, from): (Vec<_>, Vec<_>) = from.into_iter().partition(|model| model.contains('*'));
                if !patterns.is_empty() {
                    let message = format!(
                        "the fallback of every model is not carried for names that only a pattern serves: {}",
                        patterns.join(", ")
                    );
                    import.leave(fallback.line, message);
                }
                from
            }
        };
        for to in fallback.to.iter().filter(|to| !is_known(to)) {
            import.leave(fallback.line, format!("the fallback to `{to}` is not carried: there is no such model"));
        }
        for from in &from {
            let mut tier = tiers(&sources, from);
            for to in fallback.to.iter().filter(|to| *to != from) {
                for (draft, (_, upstream, more)) in serving(&sources, to) {
                    let models = vec![(from.clone(), upstream, more)];
                    let name = format!("{}-fallback", draft.name);
                    // The budget of a deployment is spent by that one alone.
                    import.add(Draft { name, tier: tier + draft.tier, budget: None, models, ..draft.clone() });
                }
                tier += tiers(&sources, to);
            }
        }
    }
}

/// Returns how many tiers the providers of a model take.
fn tiers(drafts: &[Draft], model: &str) -> i64 {
    serving(drafts, model).iter().map(|(draft, _)| draft.tier + 1).max().unwrap_or_default()
}

/// Makes a virtual model of each model with fallbacks for prompts that are too long or refused.
pub(super) fn add_virtual_models(fallbacks: &Fallbacks, import: &mut Import) {
    let sources = import.providers.clone();
    let is_known = |model: &String| !serving(&sources, model).is_empty();
    let lists = [("context_length", &fallbacks.of_length), ("content_filter", &fallbacks.of_content)];
    for (word, fallback) in lists.iter().flat_map(|(word, list)| list.iter().map(move |fallback| (*word, fallback))) {
        let Some(from) = fallback.from.as_ref().filter(|from| is_known(from) && !from.contains('*')) else {
            let from = fallback.from.as_deref().unwrap_or("*");
            import.leave(fallback.line, format!("the fallback of `{from}` is not carried: there is no such model"));
            continue;
        };
        let mut row = match import.models.iter().position(|row| row.name == *from) {
            Some(at) => import.models.remove(at),
            None => ModelRow {
                name: from.clone(),
                members: json!([from]).to_string(),
                overrides: "{}".to_owned(),
                options: json!({"fallback_on": []}).to_string(),
                is_enabled: true,
                ..ModelRow::default()
            },
        };
        let mut members: Vec<Value> = serde_json::from_str(&row.members).unwrap_or_default();
        for to in &fallback.to {
            if !is_known(to) {
                import.leave(fallback.line, format!("the fallback to `{to}` is not carried: there is no such model"));
            } else if !members.iter().any(|member| member == to || member["model"] == *to) {
                let priority = members.len();
                members.push(json!({"model": to, "priority": priority}));
            }
        }
        if members.len() > 1 {
            let message = format!(
                "`{from}` is a virtual model: its fallbacks also serve when it fails otherwise, and a key needs the \
                 permission for their names"
            );
            import.leave(fallback.line, message);
            let mut options: Value = serde_json::from_str(&row.options).unwrap_or_default();
            if let Some(words) = options["fallback_on"].as_array_mut().filter(|words| !words.contains(&json!(word))) {
                words.push(json!(word));
            }
            row.members = Value::from(members).to_string();
            row.options = options.to_string();
            import.models.push(row);
        }
    }
}
