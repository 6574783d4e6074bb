//! What is known of the heads that clients repeat. Most connections of an application send the same
//! head, and there may be tens of thousands of them: those of one worker share what it says.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::head_facts::HeadFacts;
use super::upstream_head::{HeadKind, UpstreamHead};
use llm_http::{HeadCache, KeptHead};

/// Heads that a worker finds again for another connection. It forgets one for the next.
const MOST: usize = 64;
/// Heads to providers that are kept for one head of a client.
const MOST_UPSTREAM: usize = 4;

/// A head that is in use by a connection.
pub struct KnownHead {
    kept: Rc<KeptHead>,
    pub facts: Rc<HeadFacts>,
    upstream: RefCell<Vec<UpstreamHead>>,
}

impl KnownHead {
    /// Appends the beginning of a request to a provider, if this head was sent to it before.
    pub fn write_upstream(
        &self,
        generation: u64,
        (provider, model, kind): (i64, &str, HeadKind),
        out: &mut Vec<u8>,
    ) -> bool {
        let upstream = self.upstream.borrow();
        let found = upstream.iter().find(|head| head.is_for(generation, provider, model, kind));
        found.map(|head| out.extend_from_slice(&head.bytes)).is_some()
    }

    /// Keeps the beginning of a request to a provider for the next one.
    pub fn keep_upstream(&self, head: UpstreamHead) {
        let mut upstream = self.upstream.borrow_mut();
        if upstream.len() >= MOST_UPSTREAM {
            upstream.remove(0);
        }
        upstream.push(head);
    }
}

thread_local! {
    static KNOWN: KnownHeads = KnownHeads::default();
}

/// Returns what this worker knows of the head that `cache` has parsed last, which from now on
/// shares its bytes with other connections. `None` if it is not kept.
pub fn get(cache: &mut HeadCache, facts: impl FnOnce() -> HeadFacts) -> Option<Rc<KnownHead>> {
    // There are none while the thread ends.
    KNOWN.try_with(|known| known.get(cache, facts)).ok().flatten()
}

/// The heads of the connections of one worker. One that no connection uses any more is gone, with
/// the client's key in it.
#[derive(Default)]
struct KnownHeads {
    recent: RefCell<Vec<(u64, Weak<KnownHead>)>>,
    /// The place of the next one in a full list.
    next: Cell<usize>,
    hasher: ahash::RandomState,
}

impl KnownHeads {
    fn get(&self, cache: &mut HeadCache, facts: impl FnOnce() -> HeadFacts) -> Option<Rc<KnownHead>> {
        let kept = cache.kept()?.clone();
        let hash = self.hasher.hash_one(kept.parts());
        let mut recent = self.recent.borrow_mut();
        let of_hash = recent.iter().filter(|(of, _)| *of == hash);
        let mut known = of_hash.filter_map(|(_, known)| known.upgrade());
        if let Some(known) = known.find(|known| known.kept.parts() == kept.parts()) {
            cache.share(&known.kept);
            return Some(known);
        }
        let known = Rc::new(KnownHead { kept, facts: Rc::new(facts()), upstream: RefCell::default() });
        let entry = (hash, Rc::downgrade(&known));
        match recent.len() < MOST {
            true => recent.push(entry),
            false => {
                let at = self.next.get();
                recent[at] = entry;
                self.next.set((at + 1) % MOST);
            }
        }
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_http::{HeadScan, Limits, RequestHead};

    fn head(path: &str) -> (HeadCache, RequestHead, Vec<u8>) {
        let bytes = format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer k\r\n\r\n").into_bytes();
        let mut cache = HeadCache::default();
        let head = cache.parse(&bytes, &mut HeadScan::default(), &Limits::default()).unwrap().unwrap();
        (cache, head, bytes)
    }

    fn get(heads: &KnownHeads, path: &str) -> Rc<KnownHead> {
        let (mut cache, head, bytes) = head(path);
        let known = heads.get(&mut cache, || HeadFacts::of(&head, &bytes)).unwrap();
        assert_eq!(known.kept.parts(), (&bytes[..], &b""[..], 0));
        assert!(Rc::ptr_eq(&known.kept, cache.kept().unwrap()));
        known
    }

    #[test]
    fn connections_share_equal_heads() {
        let heads = KnownHeads::default();
        let first = get(&heads, "/v1/messages");
        assert!(Rc::ptr_eq(&first, &get(&heads, "/v1/messages")));
        assert!(!Rc::ptr_eq(&first, &get(&heads, "/v1/responses")));
        let seen = Rc::downgrade(&first);
        drop(first);
        assert!(seen.upgrade().is_none(), "what no connection uses is gone");
        get(&heads, "/v1/messages");
    }

    #[test]
    fn the_list_has_a_bound() {
        let heads = KnownHeads::default();
        let held: Vec<_> = (0..MOST + 3).map(|n| get(&heads, &format!("/v1/models/{n}"))).collect();
        assert_eq!(heads.recent.borrow().len(), MOST);
        assert!(!Rc::ptr_eq(&held[2], &get(&heads, "/v1/models/2")), "it was forgotten");
        assert!(Rc::ptr_eq(&held[MOST], &get(&heads, &format!("/v1/models/{MOST}"))));
    }

    #[test]
    fn heads_to_providers_are_kept_by_what_they_were_made_from() {
        let known = get(&KnownHeads::default(), "/v1/messages");
        let write = |generation, provider, model: &str| {
            let mut out = Vec::new();
            known.write_upstream(generation, (provider, model, HeadKind::Passthrough), &mut out).then_some(out)
        };
        for provider in 0..6 {
            let bytes = format!("to {provider}").into_bytes();
            let kind = HeadKind::Passthrough;
            known.keep_upstream(UpstreamHead { generation: 1, provider, model: "m".into(), kind, bytes });
        }
        assert_eq!(write(1, 5, "m"), Some(b"to 5".to_vec()));
        assert_eq!(write(1, 2, "m"), Some(b"to 2".to_vec()));
        assert_eq!([write(1, 1, "m"), write(2, 5, "m"), write(1, 5, "n")], [None, None, None]);
        let translated = HeadKind::Translated { format: llm_wire::Format::Chat, is_stream: false };
        assert!(!known.write_upstream(1, (5, "m", translated), &mut Vec::new()));
    }
}
