//! Reasoning controls in canonical form: effort levels, budgets, and the tables between them
//! (`docs/internals/translation/reasoning.md`, "Efforts and budgets").
//!
//! Three vocabularies meet here: OpenAI speaks of an effort, Anthropic of a budget (older models)
//! or of adaptive thinking with an effort (newer ones). What one model takes of a [`Reasoning`] is
//! decided in [`thinking`](crate::request::thinking).

/// How hard a model is asked to think, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl Effort {
    /// Every level, the lowest first.
    pub const ALL: [Effort; 7] =
        [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];

    /// Returns the word of the level in the OpenAI formats.
    pub fn name(self) -> &'static str {
        ["none", "minimal", "low", "medium", "high", "xhigh", "max"][self as usize]
    }

    /// `None` for a word that is no level; what to do then is the caller's choice.
    pub fn parse(word: &str) -> Option<Effort> {
        Effort::ALL.into_iter().find(|e| e.name() == word)
    }
}

/// A set of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Levels(u8);

impl Levels {
    /// No level.
    pub const EMPTY: Levels = Levels(0);

    /// Returns the set of these levels.
    pub const fn of(levels: &[Effort]) -> Levels {
        let mut bits = 0;
        let mut i = 0;
        while i < levels.len() {
            bits |= 1 << levels[i] as u8;
            i += 1;
        }
        Levels(bits)
    }

    /// Returns all levels from `low` to `high`.
    pub const fn range(low: Effort, high: Effort) -> Levels {
        Levels((((1u16 << (high as u8 + 1)) - 1) as u8) & !((1u8 << low as u8) - 1))
    }

    /// Returns whether the level is in the set.
    pub fn has(self, effort: Effort) -> bool {
        self.0 & (1 << effort as u8) != 0
    }

    /// Returns whether no level is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The level itself, else the nearest lower one, else the lowest there is. [`Effort::None`] is
    /// never chosen for a level that asked to think, and `minimal` may rise to the lowest level.
    /// `None` only for an empty set.
    pub fn snap(self, effort: Effort) -> Option<Effort> {
        if self.has(effort) {
            return Some(effort);
        }
        let thinks = |e: &Effort| self.has(*e) && *e != Effort::None;
        let lower = Effort::ALL.into_iter().rev().filter(|e| *e < effort).find(thinks);
        lower
            .or_else(|| Effort::ALL.into_iter().find(thinks))
            .or_else(|| self.has(Effort::None).then_some(Effort::None))
    }
}

/// What the client asked for. `Unset` is not `Off`: several models think by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Unset,
    /// M `{type:disabled}`, or effort `none`.
    Off,
    /// M `{type:enabled, budget_tokens}`, or a compat host's thinking budget.
    Manual { budget: u64 },
    /// M `{type:adaptive}`, or an effort.
    Adaptive,
}

/// How much of the reasoning the client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Omitted,
    Summary,
    Full,
}

/// Canonical reasoning controls. Decoders set `mode` and `effort` together: effort `none` is `Off`,
/// any other effort alone is `Adaptive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasoning {
    pub mode: Mode,
    pub effort: Option<Effort>,
    /// `None`: the client did not say. An R client's absent or null `summary` is `Omitted`.
    pub show: Option<Show>,
}

impl Reasoning {
    /// From an effort alone, as C and R say it.
    pub fn from_effort(effort: Option<Effort>) -> Reasoning {
        match effort {
            None => Reasoning::default(),
            Some(Effort::None) => Reasoning { mode: Mode::Off, effort, show: None },
            Some(_) => Reasoning { mode: Mode::Adaptive, effort, show: None },
        }
    }
}

/// Smallest budget that Anthropic takes (Extended thinking page, 2026).
pub(crate) const BUDGET_MIN: u64 = 1024;

/// Returns the budget of a level on models that take budgets. `None` has none.
pub(crate) fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal => 1024,
        Effort::Low => 4096,
        Effort::Medium => 10_240,
        Effort::High => 24_576,
        Effort::Xhigh | Effort::Max => 49_152,
    }
}

/// Returns the level that a budget stands for, before it is snapped to a model's list.
pub(crate) fn effort_of(budget: u64) -> Effort {
    match budget {
        0..2048 => Effort::Minimal,
        2048..8192 => Effort::Low,
        8192..20_000 => Effort::Medium,
        20_000..40_000 => Effort::High,
        _ => Effort::Xhigh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapping() {
        let levels = Levels::of(&[Effort::Low, Effort::Medium, Effort::High]);
        assert_eq!(levels, Levels::range(Effort::Low, Effort::High));
        let rows = [
            (Effort::None, Some(Effort::Low)),
            (Effort::Minimal, Some(Effort::Low)),
            (Effort::Medium, Some(Effort::Medium)),
            (Effort::Max, Some(Effort::High)),
        ];
        for (requested, got) in rows {
            assert_eq!(levels.snap(requested), got, "{requested:?}");
        }
        assert_eq!(Levels::EMPTY.snap(Effort::High), None);
        assert_eq!(
            Levels::of(&[Effort::None, Effort::Low]).snap(Effort::Minimal),
            Some(Effort::Low),
            "never off for `minimal`"
        );
    }

    #[test]
    fn budgets_and_levels() {
        for effort in [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh] {
            assert_eq!(effort_of(budget_of(effort)), effort, "a level survives the way through a budget");
        }
        for effort in Effort::ALL {
            assert_eq!(Effort::parse(effort.name()), Some(effort));
        }
    }
}
