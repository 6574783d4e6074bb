//! How much of an amount is used, as a bar.

use maud::{Markup, html};

/// What a bar shows. All are in one unit.
pub(super) struct Usage<'a> {
    /// The whole of the bar.
    pub amount: f64,
    pub spent: f64,
    /// Held by requests in progress.
    pub reserved: f64,
    /// Per cents of the amount that are marked.
    pub thresholds: &'a [f64],
}

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 10.0;

impl Usage<'_> {
    /// Per cents that are spent; 100 of an amount of 0.
    pub(super) fn percent(&self) -> f64 {
        if self.amount > 0.0 { self.spent / self.amount * 100.0 } else { 100.0 }
    }

    /// `full` where nothing is left, `near` from the first threshold on.
    fn level(&self) -> &'static str {
        let first = self.thresholds.iter().copied().fold(f64::INFINITY, f64::min);
        match self.percent() {
            percent if percent >= 100.0 => "full",
            percent if percent >= first => "near",
            _ => "calm",
        }
    }

    /// Returns the bar, without numbers: they stand beside it.
    pub(super) fn bar(&self) -> Markup {
        let part = |amount: f64| if self.amount > 0.0 { (amount / self.amount).clamp(0.0, 1.0) * WIDTH } else { WIDTH };
        let spent = part(self.spent);
        let reserved = part(self.spent + self.reserved) - spent;
        html! {
            svg.usage viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-label=(format!("{:.0} % spent", self.percent())) {
                rect.ground width=(WIDTH) height=(HEIGHT) {}
                rect class=(self.level()) width=(format!("{spent:.2}")) height=(HEIGHT) {}
                rect.reserved x=(format!("{spent:.2}")) width=(format!("{reserved:.2}")) height=(HEIGHT) {}
                @for threshold in self.thresholds {
                    @let at = format!("{:.2}", threshold / 100.0 * WIDTH);
                    line.threshold x1=(at) x2=(at) y1="0" y2=(HEIGHT) {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_within_the_bar() {
        let usage = |amount, spent, reserved| Usage { amount, spent, reserved, thresholds: &[80.0] };
        let rows = [
            (usage(10.0, 2.0, 1.0), "calm", r#"width="24.00""#, r#"x="24.00" width="12.00""#),
            (usage(10.0, 8.0, 9.0), "near", r#"width="96.00""#, r#"x="96.00" width="24.00""#),
            (usage(10.0, 11.0, 9.0), "full", r#"width="120.00""#, r#"x="120.00" width="0.00""#),
            (usage(0.0, 0.0, 0.0), "full", r#"width="120.00""#, r#"x="120.00" width="0.00""#),
        ];
        for (usage, level, spent, reserved) in rows {
            let bar = usage.bar().into_string();
            assert!(bar.contains(&format!(r#"class="{level}" {spent}"#)), "{bar}");
            assert!(bar.contains(reserved), "{bar}");
        }
    }
}
