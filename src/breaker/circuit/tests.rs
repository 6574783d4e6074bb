use super::*;
use proptest::prelude::*;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Success),
        2 => proptest::option::of(0u32..10_000).prop_map(Event::Throttled),
        2 => Just(Event::ServerError),
        2 => Just(Event::Transport),
        1 => Just(Event::Slow),
        1 => Just(Event::KeyRefused),
        1 => Just(Event::ModelMissing),
        1 => (0u32..10_000).prop_map(Event::Exhausted),
    ]
}

fn run(events: &[(Event, u32)]) -> Vec<(u32, Circuit)> {
    let policy = Policy::default();
    let (mut circuit, mut now) = (Circuit::HEALTHY, 0);
    let step = |(event, pause): &(Event, u32)| {
        now += pause;
        if circuit.admission(now) == Admission::Probe {
            circuit = circuit.probing(now);
        }
        circuit = circuit.after(*event, now, &policy);
        (now, circuit)
    };
    events.iter().map(step).collect()
}

proptest! {
    #[test]
    fn a_word_holds_a_circuit(events in proptest::collection::vec((event(), 0u32..500), 0..60)) {
        for (_, circuit) in run(&events) {
            prop_assert_eq!(Circuit::unpack(circuit.pack()), circuit);
        }
    }

    /// No bench is longer than the longest, and no share leaves its bounds.
    #[test]
    fn bounds(events in proptest::collection::vec((event(), 0u32..500), 0..60)) {
        let policy = Policy::default();
        for (now, circuit) in run(&events) {
            prop_assert!(circuit.wait(now) <= policy.max_open.max(policy.max_cooldown));
            let share = circuit.share(now, &policy);
            prop_assert!((policy.min_multiplier..=WHOLE).contains(&share), "{share}");
        }
    }

    /// From any state, successes alone lead back to health, in a bounded number of steps.
    #[test]
    fn successes_heal(events in proptest::collection::vec((event(), 0u32..500), 0..60)) {
        let policy = Policy::default();
        let (mut now, mut circuit) = run(&events).last().copied().unwrap_or((0, Circuit::HEALTHY));
        for _ in 0..40 {
            now += circuit.wait(now).max(50);
            if circuit.admission(now) == Admission::Probe {
                circuit = circuit.probing(now);
            }
            circuit = circuit.after(Event::Success, now, &policy);
        }
        prop_assert_eq!(circuit, Circuit::HEALTHY);
        prop_assert_eq!(circuit.pack(), 0);
    }

    /// However often requests come, a provider that stays down is asked ever less: after it was
    /// found to be down, once for each bench, and benches double up to the longest.
    #[test]
    fn an_outage_is_probed_and_not_asked(pauses in proptest::collection::vec(1u32..40, 3000)) {
        let policy = Policy::default();
        let (mut now, mut circuit, mut asked) = (0, Circuit::HEALTHY, 0u32);
        for pause in pauses {
            now += pause;
            match circuit.admission(now) {
                Admission::Benched => continue,
                Admission::Probe => circuit = circuit.probing(now),
                Admission::Free => {}
            }
            asked += 1;
            circuit = circuit.after(Event::ServerError, now, &policy);
        }
        let doublings = (policy.max_open / policy.base_open).ilog2() + 1;
        let most = policy.threshold_5xx + doublings + now / policy.max_open + 1;
        prop_assert!(asked <= most, "{asked} of at most {most} in {now} ticks");
    }

    /// The share grows from one success to the next, until it is whole.
    #[test]
    fn a_slow_start_is_monotonic(pauses in proptest::collection::vec(1u32..60, 30)) {
        let policy = Policy::default();
        let mut circuit = Circuit::HEALTHY;
        for _ in 0..5 {
            circuit = circuit.after(Event::ServerError, 0, &policy);
        }
        let mut now = circuit.at;
        circuit = circuit.probing(now).after(Event::Success, now, &policy).after(Event::Success, now, &policy);
        prop_assert_eq!(circuit.phase, Phase::SlowStart);
        let mut last = 0;
        for pause in pauses {
            now += pause;
            circuit = circuit.after(Event::Success, now, &policy);
            let share = circuit.share(now, &policy);
            prop_assert!(share >= last, "{share} after {last}");
            last = share;
        }
    }
}

#[test]
fn thresholds_and_times() {
    let policy = Policy::default();
    let repeat = |event, n: u32| (0..n).fold(Circuit::HEALTHY, |circuit, _| circuit.after(event, 7, &policy));
    assert_eq!(repeat(Event::ServerError, 4).phase, Phase::Closed);
    let open = repeat(Event::ServerError, 5);
    assert_eq!((open.phase, open.at, open.reason), (Phase::Open, 307, Reason::ServerErrors));
    assert_eq!(repeat(Event::Transport, 3).phase, Phase::Closed);
    assert_eq!(repeat(Event::Transport, 4).phase, Phase::Open);
    let cooling = repeat(Event::Throttled(None), 1);
    assert_eq!((cooling.phase, cooling.at, cooling.multiplier), (Phase::Cooling, 157, 500));
    assert_eq!(repeat(Event::Throttled(None), 2).at, 307);
    assert_eq!(repeat(Event::Throttled(Some(20)), 1).at, 27);
    assert_eq!(repeat(Event::Throttled(None), 3).phase, Phase::Open);
    assert_eq!(repeat(Event::Slow, 1).multiplier, 900);
    // A failed probe opens for twice the time.
    let again = open.probing(400).after(Event::Transport, 400, &policy);
    assert_eq!((again.phase, again.at), (Phase::Open, 1000));
    assert_eq!(open.admission(306), Admission::Benched);
    assert_eq!(open.admission(307), Admission::Probe);
    let by_hand = repeat(Event::OpenedByHand, 1);
    assert_eq!(by_hand.after(Event::Success, 9, &policy), by_hand);
    assert_eq!(by_hand.after(Event::ClosedByHand, 9, &policy), Circuit::HEALTHY);
}
