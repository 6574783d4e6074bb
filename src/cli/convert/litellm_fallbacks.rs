//! Fallbacks of a LiteLLM configuration, which become standbys.

use super::import::{Draft, Import};

/// A fallback: from which model, to which others, and its position.
pub(super) struct Fallback {
    /// `None`: from every model that has none of its own.
    pub(super) from: Option<String>,
    pub(super) to: Vec<String>,
    /// The line of the file, from 1.
    pub(super) line: usize,
}

/// A fallback is a standby that serves the model under the name of the one that it stands in for.
pub(super) fn add_standbys(fallbacks: &[Fallback], import: &mut Import) {
    let known: Vec<String> =
        import.providers.iter().flat_map(|draft| draft.models.iter().map(|(model, ..)| model.clone())).collect();
    let own: Vec<&String> = fallbacks.iter().filter_map(|fallback| fallback.from.as_ref()).collect();
    let sources = import.providers.clone();
    for fallback in fallbacks {
        let from: Vec<String> = match &fallback.from {
            Some(from) if known.contains(from) => vec![from.clone()],
            Some(from) => {
                import.leave(fallback.line, format!("the fallback of `{from}` is not carried: there is no such model"));
                continue;
            }
            None => known.iter().filter(|model| !own.contains(model) && !model.contains('*')).cloned().collect(),
        };
        for to in &fallback.to {
            let targets: Vec<_> = sources
                .iter()
                .filter_map(|draft| {
                    let (_, upstream, more) = draft.models.iter().find(|(model, ..)| model == to)?;
                    Some((draft, upstream.clone(), more.clone()))
                })
                .collect();
            if targets.is_empty() {
                import.leave(fallback.line, format!("the fallback to `{to}` is not carried: there is no such model"));
            }
            for (draft, upstream, more) in targets {
                let models = from.iter().filter(|from| *from != to);
                let models: Vec<_> = models.map(|from| (from.clone(), upstream.clone(), more.clone())).collect();
                let name = format!("{}-fallback", draft.name);
                import.add(Draft { name, weight: 0, models, ..draft.clone() });
            }
        }
        if fallback.to.len() > 1 {
            let message = "several fallbacks of a model are standbys, which have no order among them";
            import.leave(fallback.line, message);
        }
    }
}
