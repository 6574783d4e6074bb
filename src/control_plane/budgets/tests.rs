use super::*;
use crate::config::boot::{Boot, Environment};

use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::store;
use crate::shared::Hints;

/// Once the last budget is gone, an account that a request still holds is looked at once a second,
/// and a store that is down is left alone as long as it says.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_budgets_accounts_are_looked_at_once_a_second() {
    let boot = Boot { config_file: Some("none.yaml".into()), ..Boot::default() };
    let store = store::open(&boot, &Environment::default()).unwrap();
    let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
    let shared = Arc::new(ProcessState::new(boot, 1, hints));
    let webhook = Webhook::unset(ControlPlaneMetrics::new(&shared));
    let mut budgets = Budgets::new(shared, store, webhook);
    let steps_of_ten_seconds = async |budgets: &mut Budgets| {
        let (end, mut steps) = (Instant::now() + Duration::from_secs(10), 0);
        while let Ok(step) = tokio::time::timeout_at(end, budgets.next()).await {
            budgets.take(step);
            steps += 1;
        }
        steps
    };

    let key = SumsKey { name: "b".into(), kind: "usd/total".into(), starts_at: 0 };
    let held_by_a_request = Arc::new(Account::new(Window::ALL, 0));
    budgets.close(key, 1, held_by_a_request.clone());
    let steps = steps_of_ten_seconds(&mut budgets).await;
    assert!((9..=11).contains(&steps), "{steps}");

    budgets.outage =
        Some(Outage { message: String::new(), pause: PAUSES.1, until: Instant::now() + Duration::from_secs(60) });
    assert_eq!(steps_of_ten_seconds(&mut budgets).await, 0);

    budgets.outage = None;
    drop(held_by_a_request);
    let steps = steps_of_ten_seconds(&mut budgets).await;
    assert!((1..=2).contains(&steps) && budgets.closing.is_empty(), "{steps}");
}
