use super::*;
use crate::breaker::circuit::Event;
use llm_wire::Format;

fn turns(weights: &[u32], worker: usize, n: usize) -> Vec<usize> {
    let rotation = Rotation::new(weights.to_vec(), worker);
    (0..n).map(|_| rotation.next()).collect()
}

/// Groups of candidates, each with their weights and whether it is a guess.
fn candidates(ranks: &[(&[u32], bool)]) -> Candidates {
    let (mut list, mut groups) = (Vec::new(), Vec::new());
    for (weights, is_guess) in ranks {
        let start = list.len();
        list.extend((start..start + weights.len()).map(|provider| Candidate {
            provider,
            upstream_model: "m".into(),
            name_fields: name_fields("p", "m"),
            target: TargetFormat::plain(
                Format::Chat,
                &crate::route::target_format::tests::provider("openai", "http://h/v1", "{}"),
                "m",
            ),
            rank: Rank::Exact,
            priority: 0,
            weight: weights[provider - start],
            context_window: 0,
            slot: Slot::NONE,
            is_member: false,
        }));
        let rotation = Rc::new(Rotation::new(weights.to_vec(), 0));
        groups.push(Group { range: start..list.len(), is_guess: *is_guess, priority: 0, rotation });
    }
    Candidates::new(list, 0, groups)
}

fn order(candidates: &Candidates) -> Vec<usize> {
    ordered(candidates, &providers(candidates), 0)
}

fn providers(candidates: &Candidates) -> Vec<Arc<Provider>> {
    let stub = || crate::route::target_format::tests::provider("openai", "http://h/v1", "{}");
    candidates.list.iter().map(|_| Arc::new(stub())).collect()
}

fn ordered(candidates: &Candidates, providers: &[Arc<Provider>], now: u32) -> Vec<usize> {
    let policy = Policy::default();
    candidates.order(providers, &policy, || now).map(|ranked| ranked.candidate.provider).collect()
}

#[test]
fn every_full_round_gives_each_exactly_its_weight_on_any_worker() {
    for weights in [&[1, 1][..], &[5, 1, 1], &[3, 2], &[10, 0, 1], &[7]] {
        let total: u32 = weights.iter().sum();
        for worker in 0..5 {
            for chunk in turns(weights, worker, total as usize * 4).chunks(total as usize) {
                for (index, weight) in weights.iter().enumerate() {
                    let count = chunk.iter().filter(|i| **i == index).count();
                    assert_eq!(count, *weight as usize, "weights {weights:?} worker {worker} provider {index}");
                }
            }
        }
    }
}

#[test]
fn turns_are_smooth() {
    assert_eq!(turns(&[5, 1, 1], 0, 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn workers_start_at_different_offsets() {
    let first: std::collections::HashSet<usize> = (0..8).map(|worker| turns(&[1, 1, 1], worker, 1)[0]).collect();
    assert!(first.len() > 1, "{first:?}");
}

#[test]
fn each_candidate_is_tried_once_and_standby_last() {
    let set = candidates(&[(&[1, 0, 1], false)]);
    assert_eq!(order(&set), [0, 2, 1]);
    assert_eq!(order(&set), [2, 0, 1]);
    assert_eq!(order(&candidates(&[(&[0, 0], false)])), [0, 1]);
    assert_eq!(order(&candidates(&[(&[0, 1], true)])), [1, 0]);
    assert_eq!(order(&candidates(&[])), Vec::<usize>::new());
}

#[test]
fn ranks_take_turns_within_and_follow_one_another() {
    let set = candidates(&[(&[1, 1], false), (&[1, 1, 0], false), (&[1, 0], true)]);
    assert_eq!(order(&set), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(order(&set), [1, 0, 3, 2, 4, 5, 6]);
    // A standby that has the model goes before one of which that is not known.
    assert_eq!(order(&candidates(&[(&[0], false), (&[1], true)])), [0, 1]);
    assert_eq!(order(&candidates(&[(&[0], false), (&[1], false)])), [1, 0]);
}

/// One of three is out of service: the others keep their shares, and it comes last.
#[test]
fn shares_of_the_others_stay_exact() {
    let set = candidates(&[(&[5, 2, 1], false)]);
    let providers = providers(&set);
    providers[0].memory.account.record(Event::KeyRefused, 0, &Policy::default());
    for _ in 0..20 {
        let mut first = [0; 3];
        for _ in 0..3 {
            let order = ordered(&set, &providers, 1);
            assert_eq!((order.len(), order[2]), (3, 0));
            first[order[0]] += 1;
        }
        assert_eq!(first, [0, 2, 1]);
    }
    providers[0].memory.account.record(Event::ClosedByHand, 0, &Policy::default());
    let mut first = [0; 3];
    (0..80).for_each(|_| first[ordered(&set, &providers, 2)[0]] += 1);
    assert_eq!(first, [50, 20, 10]);
}

/// When everybody is out of service the one that comes back first is asked.
#[test]
fn some_candidate_is_always_left() {
    let set = candidates(&[(&[1, 1], false)]);
    let providers = providers(&set);
    let policy = Policy::default();
    providers[0].memory.account.record(Event::Throttled(Some(500)), 0, &policy);
    providers[1].memory.account.record(Event::Throttled(Some(50)), 0, &policy);
    assert_eq!(ordered(&set, &providers, 1), [1, 0]);
    assert_eq!(ordered(&set, &providers, 51), [1, 0]);
}
