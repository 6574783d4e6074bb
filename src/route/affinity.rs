//! Sends the requests of one conversation to one provider, which holds its prompt cache.
//!
//! A conversation is known by a header of its client's session, or else by the prefix of its prompt
//! that a provider caches. It goes to the provider with the highest score (weighted rendezvous
//! hashing): when a provider goes, its conversations move and no others; when one comes, it takes
//! its share from each of the others. The weights hold over many conversations.
//!
//! A provider with more than its share of running conversations is passed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llm_wire::json::{RawValue, walk};

/// Headers that name a session: the one that is meant for this, and those that Claude Code, Codex
/// and OpenCode send (code.claude.com, "LLM gateway protocol"; openai/codex, `codex-rs/core`;
/// sst/opencode, `packages/opencode`; all 2026-11).
pub const SESSION_HEADERS: [&str; 6] = [
    "x-session-affinity",
    "x-claude-code-session-id",
    "session_id",
    "session-id",
    "conversation_id",
    "x-opencode-session",
];

/// What a conversation is known by. Equal on every worker and node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationKey(u64);

impl ConversationKey {
    /// Returns the key of a conversation that these bytes identify.
    pub fn of(bytes: &[u8]) -> ConversationKey {
        let mut hash = Hash::default();
        hash.write(bytes);
        ConversationKey(hash.finish())
    }

    /// Returns the key of the session that the header of a request names, by the first of the known
    /// headers.
    pub fn of_session<'h>(fields: impl Iterator<Item = (&'h [u8], &'h [u8])>) -> Option<ConversationKey> {
        let mut found: Option<(usize, &[u8])> = None;
        for (name, value) in fields {
            // By length first: most names are of no interest.
            let is = |known: &str| known.len() == name.len() && name.eq_ignore_ascii_case(known.as_bytes());
            if let Some(at) = SESSION_HEADERS.iter().position(|known| is(known))
                && found.is_none_or(|(best, _)| at < best)
                && !value.is_empty()
            {
                found = Some((at, value));
            }
        }
        found.map(|(_, value)| ConversationKey::of(value))
    }

    /// Returns the key of the prefix that a provider caches: `prompt_cache_key` if the client gives
    /// one, or else the system prompt, the tools and the conversation up to its first turn of the
    /// user. `None` if there is no such turn.
    pub fn of_prefix(body: &[u8]) -> Option<ConversationKey> {
        let (mut hash, mut has_turn) = (Hash::default(), false);
        for (key, value, _) in walk::members(body) {
            match key.as_bytes() {
                b"prompt_cache_key" => return Some(ConversationKey::of(value.bytes())),
                b"system" | b"instructions" | b"tools" => hash.write(value.bytes()),
                b"messages" | b"input" => has_turn |= write_turns(value, &mut hash),
                _ => {}
            }
        }
        has_turn.then(|| ConversationKey(hash.finish()))
    }
}

/// Adds the turns up to the first one of the user, which it returns whether there is.
fn write_turns(turns: RawValue<'_>, hash: &mut Hash) -> bool {
    if turns.as_str().is_some() {
        hash.write(turns.bytes());
        return true;
    }
    for (turn, _) in turns.elements() {
        hash.write(turn.bytes());
        if turn.find("role").is_some_and(|role| role.eq_str("user")) {
            return true;
        }
    }
    false
}

/// A hash that is the same everywhere: multiplication and rotation of words, as in FxHash, with the
/// finish of SplitMix64. Whoever makes keys collide sends their own requests to one provider.
#[derive(Debug, Default)]
struct Hash(u64);

impl Hash {
    fn write(&mut self, bytes: &[u8]) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut add = |word: u64| self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        add(u64::from_le_bytes(last));
        // Texts that differ in zeros at their ends differ here.
        add(bytes.len() as u64);
    }

    fn finish(&self) -> u64 {
        mixed(self.0)
    }
}

/// Returns the finish of SplitMix64.
fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Returns the id of a place.
pub(super) fn id_of(account: &[u8], model: &str) -> u64 {
    let mut hash = Hash::default();
    hash.write(account);
    hash.write(model.as_bytes());
    hash.finish()
}

/// A provider that a conversation may go to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// What distinguishes it: the account, and the model if there are several.
    pub id: u64,
    /// Above 0.
    pub weight: f64,
    /// Conversations of which a request runs there.
    pub load: u32,
}

/// The part of its share up to which a provider gets conversations.
const MOST_LOAD: f64 = 1.25;
/// Running requests up to which nobody is passed over: few of them are never even.
const FREE_LOAD: f64 = 8.0;

/// Returns the place of a conversation, and whether a better one was passed over because of its
/// load. `None` without any.
pub(super) fn choose(key: ConversationKey, places: &[Place]) -> Option<(usize, bool)> {
    let total: f64 = places.iter().map(|place| place.weight).sum();
    let running: f64 = places.iter().map(|place| f64::from(place.load)).sum();
    let score = |place: &Place| {
        // From 0 to 1, both excluded.
        let chance = ((mixed(key.0 ^ mixed(place.id)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        place.weight / -chance.ln()
    };
    let has_room = |place: &Place| {
        let share = place.weight / total;
        f64::from(place.load) < (MOST_LOAD * (running + 1.0) * share).ceil().max(FREE_LOAD)
    };
    let best = |with_room: bool| {
        let places = places.iter().enumerate().filter(|(_, place)| !with_room || has_room(place));
        places.max_by(|(_, a), (_, b)| score(a).total_cmp(&score(b))).map(|(at, _)| at)
    };
    let first = best(false)?;
    let chosen = best(true).unwrap_or(first);
    Some((chosen, chosen != first))
}

/// Counts a conversation at a provider while its request runs.
#[derive(Debug)]
pub struct Load(Arc<AtomicU32>);

impl Load {
    /// Counts a request of a conversation until the result is dropped.
    pub fn begin(count: Arc<AtomicU32>) -> Load {
        count.fetch_add(1, Ordering::Relaxed);
        Load(count)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONVERSATIONS: u64 = 10_000;

    fn place(id: u64, weight: f64) -> Place {
        Place { id, weight, load: 0 }
    }

    fn placed(places: &[Place]) -> Vec<u64> {
        let key = |n: u64| ConversationKey::of(format!("session-{n}").as_bytes());
        (0..CONVERSATIONS).map(|n| places[choose(key(n), places).unwrap().0].id).collect()
    }

    fn share(placed: &[u64], id: u64) -> f64 {
        placed.iter().filter(|found| **found == id).count() as f64 / placed.len() as f64
    }

    /// Weights 5, 3 and 2: the shares are within two points, and when a provider goes its
    /// conversations alone move, to the others by their weights. When it comes back all are where
    /// they were.
    #[test]
    fn ten_thousand_conversations_over_three_weights() {
        let three = [place(1, 5.0), place(2, 3.0), place(3, 2.0)];
        let before = placed(&three);
        for (id, expected) in [(1, 0.5), (2, 0.3), (3, 0.2)] {
            let found = share(&before, id);
            assert!((found - expected).abs() < 0.02, "provider {id}: {found}");
        }
        for gone in 1..=3 {
            let left: Vec<_> = three.iter().copied().filter(|place| place.id != gone).collect();
            let after = placed(&left);
            let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
            assert!(moved.iter().all(|(from, _)| **from == gone), "others moved when {gone} went");
            assert_eq!(moved.len(), before.iter().filter(|id| **id == gone).count());
            let total: f64 = left.iter().map(|place| place.weight).sum();
            let to: Vec<u64> = moved.iter().map(|(_, to)| **to).collect();
            for place in &left {
                let (found, expected) = (share(&to, place.id), place.weight / total);
                assert!((found - expected).abs() < 0.03, "from {gone} to {}: {found}", place.id);
            }
        }
        assert_eq!(placed(&three), before);
    }

    /// A larger weight takes conversations from the others and gives none away.
    #[test]
    fn a_weight_that_grows_only_takes() {
        let before = placed(&[place(1, 1.0), place(2, 1.0)]);
        let after = placed(&[place(1, 2.0), place(2, 1.0)]);
        assert!(before.iter().zip(&after).all(|(a, b)| a == b || (*a, *b) == (2, 1)));
        assert!((share(&after, 1) - 2.0 / 3.0).abs() < 0.02);
    }

    /// All conversations run at once: nobody has more than a quarter above its share, and those
    /// that are passed over are few.
    #[test]
    fn load_is_bounded() {
        let mut places = [place(1, 5.0), place(2, 3.0), place(3, 2.0)];
        let (mut passed_over, hot) = (0, ConversationKey::of(b"one prompt for all"));
        for n in 0..CONVERSATIONS {
            // A third of them share a prompt.
            let key = if n % 3 == 0 { hot } else { ConversationKey::of(&n.to_le_bytes()) };
            let (at, was_passed) = choose(key, &places).unwrap();
            places[at].load += 1;
            passed_over += u32::from(was_passed);
        }
        let total = CONVERSATIONS as f64;
        for Place { weight, load, .. } in places {
            assert!(f64::from(load) <= (1.25 * total * weight / 10.0).ceil(), "{places:?}");
        }
        assert!(passed_over > 0 && f64::from(passed_over) < total / 2.0, "{passed_over}");
        assert!(choose(hot, &[]).is_none());
    }

    proptest! {
        /// Whatever the weights are, a provider that goes moves its own conversations alone, and a
        /// choice that is made again is the same.
        #[test]
        fn only_the_conversations_of_one_that_goes_move(
            weights in prop::collection::vec(0.01f64..100.0, 2..8),
            gone in any::<prop::sample::Index>(),
            key in any::<u64>(),
        ) {
            let places: Vec<Place> = (1..).zip(&weights).map(|(id, weight)| place(id, *weight)).collect();
            let gone = places[gone.index(places.len())].id;
            let chosen = |places: &[Place]| choose(ConversationKey(key), places).map(|(at, _)| places[at].id);
            let before = chosen(&places);
            prop_assert_eq!(before, chosen(&places));
            let left: Vec<Place> = places.iter().copied().filter(|place| place.id != gone).collect();
            prop_assert!(before == Some(gone) || chosen(&left) == before);
        }

        /// Whatever runs where, nobody gets a conversation above its bound while another has room.
        #[test]
        fn nobody_is_above_its_bound(
            places in prop::collection::vec((0.01f64..100.0, 0u32..100), 1..8),
            key in any::<u64>(),
        ) {
            let places: Vec<Place> =
                (1..).zip(&places).map(|(id, (weight, load))| Place { id, weight: *weight, load: *load }).collect();
            let total: f64 = places.iter().map(|place| place.weight).sum();
            let running: f64 = places.iter().map(|place| f64::from(place.load)).sum();
            let share = |place: &Place| place.weight / total;
            let bound = |place: &Place| (MOST_LOAD * (running + 1.0) * share(place)).ceil().max(FREE_LOAD);
            let (at, _) = choose(ConversationKey(key), &places).unwrap();
            let has_room = |place: &Place| f64::from(place.load) < bound(place);
            prop_assert!(has_room(&places[at]) || !places.iter().any(has_room));
        }
    }

    #[test]
    fn keys_of_sessions() {
        let of = |fields: &[(&str, &str)]| {
            ConversationKey::of_session(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
        };
        assert_eq!(of(&[("user-agent", "x")]), None);
        assert_eq!(of(&[("Session_Id", "")]), None);
        assert_eq!(of(&[("Session_Id", "a")]), Some(ConversationKey::of(b"a")));
        let both = of(&[("session_id", "a"), ("X-Session-Affinity", "b")]);
        assert_eq!(both, Some(ConversationKey::of(b"b")));
    }

    #[test]
    fn keys_of_prefixes() {
        let key = |body: &str| ConversationKey::of_prefix(body.as_bytes());
        let first = key(r#"{"system":"s","messages":[{"role":"user","content":"a"}]}"#);
        assert!(first.is_some());
        let later = r#"{"max_tokens":5,"system":"s","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
        assert_eq!(key(later), first, "what follows the first turn does not matter");
        assert_ne!(key(r#"{"system":"t","messages":[{"role":"user","content":"a"}]}"#), first);
        assert_eq!(key(r#"{"messages":[{"role":"system","content":"a"}]}"#), None);
        assert!(key(r#"{"instructions":"i","input":"hello"}"#).is_some());
        let cached = |more: &str| key(&format!(r#"{{"prompt_cache_key":"k","messages":[{more}]}}"#));
        assert_eq!(cached(""), cached(r#"{"role":"user","content":"a"}"#));
    }
}
