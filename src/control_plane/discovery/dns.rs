//! Keeps [`Table`] fresh: the hosts of all current providers, and the names that workers request.
//!
//! The system's own resolver does the work (`getaddrinfo`, on tokio's pool for blocking calls), so
//! `/etc/hosts`, `/etc/resolv.conf`, search domains and the rest of the machine's setup apply as
//! they do everywhere on it, and changes of them are noticed. It does not return a time to live:
//! each name is resolved again after [`REFRESH`], which is shorter than what providers' zones
//! commonly allow, and nearby caches honour the true time. hickory-resolver, which returns a time
//! to live, was tried (0.26.3, 2026-11): without a reachable name server it takes 15 s for a name
//! in `/etc/hosts`, since it waits for the other address family; it reads both files once; and it
//! brings some forty crates.
//!
//! Where a worker can connect to none of the addresses, the name is resolved at once, at most once
//! a second.
//!
//! [`Table`]: crate::shared::names::Table

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::link_local;
use crate::control_plane::timing::until;
use crate::shared::ProcessState;
use crate::shared::names::{Known, Resolved};

/// How long addresses are used before the name is resolved again.
const REFRESH: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to [`REFRESH`].
const RETRY: Duration = Duration::from_secs(1);
/// How long a lookup may take. The system's own timeout may be longer; its thread then ends later.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a name of no current provider is kept after a worker requested it: for requests that
/// began with an older configuration.
const KEEP_REQUESTED: Duration = Duration::from_secs(600);
/// The most addresses of a name that are used.
const MAX_ADDRESSES: usize = 16;

/// The addresses of a name, or why there are none.
pub(crate) type Answer = Result<Vec<IpAddr>, String>;
/// Resolves a name: by the system, or in tests by a script.
pub(crate) type Lookup = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send>;

/// Resolves host names, and renews their addresses.
pub(crate) struct Names {
    shared: Arc<ProcessState>,
    lookup: Lookup,
    /// Hosts of the current configuration, and of one that is about to be published.
    needed: HashSet<String>,
    entries: HashMap<String, Entry>,
    lookups: JoinSet<(String, Answer)>,
    waker: Arc<RequestWaker>,
}

struct Entry {
    /// The row in the table.
    known: Option<Known>,
    is_looked_up: bool,
    /// Whether a worker waits for the next answer, be it the same as the last.
    is_awaited: bool,
    /// When to resolve. During a lookup: when to resolve again if it never ends.
    due: Instant,
    /// Failures in a row.
    failures: u32,
    /// When a worker last requested it.
    requested: Option<Instant>,
}

/// Wakes the control plane when a worker requests a name.
#[derive(Default)]
struct RequestWaker(Notify);

impl Wake for RequestWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// What [`Names`] waits for.
pub(crate) enum Step {
    Requested,
    Due,
    Answered(String, Answer),
    /// A lookup ended without a result, which only a panic can cause. Its name is resolved again
    /// when it is due.
    Lost,
}

impl Names {
    /// Made once per process: from now on workers wake it.
    pub(crate) fn new(shared: Arc<ProcessState>) -> Names {
        Names::with(shared, Box::new(|host| Box::pin(lookup_system(host))))
    }

    /// Makes a resolver that looks names up with `lookup`.
    pub(crate) fn with(shared: Arc<ProcessState>, lookup: Lookup) -> Names {
        let waker = Arc::new(RequestWaker::default());
        shared.names.set_waker(Waker::from(waker.clone()));
        Names { shared, lookup, needed: HashSet::new(), entries: HashMap::new(), lookups: JoinSet::new(), waker }
    }

    /// Begins to resolve `hosts`, those of a configuration that is about to be published.
    pub(crate) fn need(&mut self, hosts: &HashSet<String>) {
        for host in hosts {
            self.needed.insert(host.clone());
            self.entry(host);
        }
        self.look_up_due(Instant::now());
    }

    /// Returns whether the result for each of `hosts` is known, be it a failure.
    pub(crate) fn has_all(&self, hosts: &HashSet<String>) -> bool {
        let known = |host: &String| self.entries.get(host).is_some_and(|entry| entry.known.is_some());
        hosts.iter().all(known)
    }

    /// Notes that a configuration with these hosts is current. Others are forgotten, unless a
    /// worker requested them recently.
    pub(crate) fn keep(&mut self, hosts: HashSet<String>) {
        self.needed = hosts;
        self.forget(Instant::now());
    }

    /// Waits for the next step. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Step {
        let due = self.entries.values().map(|entry| entry.due).min();
        tokio::select! {
            () = self.waker.0.notified() => Step::Requested,
            () = until(due) => Step::Due,
            Some(ended) = self.lookups.join_next() => match ended {
                Ok((host, answer)) => Step::Answered(host, answer),
                Err(_) => Step::Lost,
            },
        }
    }

    /// Does what a step requires. It does not wait.
    pub(crate) fn take(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Requested => {
                while let Some(host) = self.shared.names.next_requested() {
                    self.entry(&host).requested = Some(now);
                }
                while let Some(host) = self.shared.names.next_outdated() {
                    let Some(entry) = self.entries.get_mut(&host) else { continue };
                    entry.is_awaited = true;
                    if !entry.is_looked_up {
                        entry.due = now;
                    }
                }
            }
            Step::Due => self.forget(now),
            Step::Answered(host, answer) => self.take_answer(&host, answer, now),
            Step::Lost => tracing::error!("gateway: a panic ended a name lookup"),
        }
        self.look_up_due(now);
    }

    fn entry(&mut self, host: &str) -> &mut Entry {
        let fresh = || Entry {
            known: None,
            is_looked_up: false,
            is_awaited: false,
            due: Instant::now(),
            failures: 0,
            requested: None,
        };
        self.entries.entry(host.to_owned()).or_insert_with(fresh)
    }

    fn look_up_due(&mut self, now: Instant) {
        for (host, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.due <= now) {
            entry.due = now + 2 * LOOKUP_TIMEOUT;
            entry.is_looked_up = true;
            let (host, answer) = (host.clone(), (self.lookup)(host.clone()));
            self.lookups.spawn(async move { (host, answer.await) });
        }
    }

    fn take_answer(&mut self, host: &str, answer: Answer, now: Instant) {
        // The name was forgotten meanwhile.
        let allows_all = self.shared.boot.allow_link_local_upstreams;
        let Some(entry) = self.entries.get_mut(host) else { return };
        entry.is_looked_up = false;
        let before = entry.known.as_ref().map(|known| &known.resolved);
        let answer = if allows_all { answer } else { answer.and_then(without_link_local) };
        let resolved = match answer {
            Ok(addresses) => {
                if entry.failures > 0 {
                    tracing::info!(host, "gateway: the name can be resolved again");
                }
                entry.failures = 0;
                entry.due = now + REFRESH;
                Resolved::Addresses(addresses.into())
            }
            Err(reason) => {
                if entry.failures == 0 {
                    let kept = matches!(before, Some(Resolved::Addresses(_)));
                    let then = if kept { "; its last known addresses stay in use" } else { "" };
                    tracing::warn!(host, "gateway: the name of a provider's host can't be resolved: {reason}{then}");
                }
                entry.due = now + REFRESH.min(RETRY * (1 << entry.failures.min(10)));
                entry.failures += 1;
                match before {
                    Some(good @ Resolved::Addresses(_)) => good.clone(),
                    _ => Resolved::Failed(reason.into()),
                }
            }
        };
        let is_changed = before != Some(&resolved);
        entry.known = Some(Known { resolved, resolved_at: now.into_std() });
        // A worker that has the name resolved again waits for the time of the answer.
        if std::mem::take(&mut entry.is_awaited) || is_changed {
            self.publish();
        }
    }

    fn forget(&mut self, now: Instant) {
        let before = self.entries.len();
        let is_recent = |entry: &Entry| entry.requested.is_some_and(|at| now.duration_since(at) < KEEP_REQUESTED);
        self.entries.retain(|host, entry| self.needed.contains(host) || is_recent(entry));
        if self.entries.len() < before {
            self.publish();
        }
    }

    fn publish(&self) {
        let known = self.entries.iter().filter_map(|(host, entry)| Some((host.clone(), entry.known.clone()?)));
        self.shared.names.publish(known.collect());
    }
}

/// Removes addresses that no provider may have; it is an error if there are no others.
fn without_link_local(mut addresses: Vec<IpAddr>) -> Answer {
    let refused = addresses.iter().copied().find(|ip| link_local::is_link_local(*ip));
    addresses.retain(|ip| !link_local::is_link_local(*ip));
    match refused.filter(|_| addresses.is_empty()) {
        Some(ip) => Err(format!("its address {ip} {}", link_local::REFUSAL)),
        None => Ok(addresses),
    }
}

async fn lookup_system(host: String) -> Answer {
    match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await {
        Ok(Ok(found)) => in_order(found.map(|address| address.ip())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
    }
}

/// Orders addresses, IPv4 first: a machine without a route to the IPv6 internet is common, one
/// without a route to the other is rare and fails at once.
fn in_order(found: impl Iterator<Item = IpAddr>) -> Answer {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() { Err("the name has no addresses".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::boot::Boot;
    use crate::shared::Hints;

    fn shared() -> Arc<ProcessState> {
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        Arc::new(ProcessState::new(Boot::default(), 1, hints))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn hosts<const N: usize>(names: [&str; N]) -> HashSet<String> {
        names.map(str::to_owned).into()
    }

    /// Names that answer what the script says; each answer is used once and the last one stays.
    fn scripted(shared: &Arc<ProcessState>, script: &[(&'static str, &[Answer])]) -> Names {
        let script: HashMap<&str, Vec<Answer>> =
            script.iter().map(|(host, answers)| (*host, answers.iter().rev().cloned().collect())).collect();
        let script = Mutex::new(script);
        let ask = move |host: String| -> Pin<Box<dyn Future<Output = Answer> + Send>> {
            let mut script = script.lock().unwrap();
            let answers = script.get_mut(host.as_str()).unwrap();
            let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
            Box::pin(std::future::ready(answer))
        };
        Names::with(shared.clone(), Box::new(ask))
    }

    fn failed(why: &str) -> Option<Resolved> {
        Some(Resolved::Failed(why.into()))
    }

    fn addresses(texts: &[&str]) -> Option<Resolved> {
        Some(Resolved::Addresses(texts.iter().map(|text| ip(text)).collect()))
    }

    #[test]
    fn order_and_bound() {
        let check = |found: &[&str], expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(|text| ip(text)).collect();
            assert_eq!(in_order(found.iter().map(|text| ip(text))), Ok(expected), "{found:?}");
        };
        check(&["::1", "127.0.0.1", "::2", "127.0.0.1"], &["127.0.0.1", "::1", "::2"]);
        check(&["::1"], &["::1"]);
        assert!(in_order(std::iter::empty()).is_err());
        assert_eq!(in_order((0..100).map(|n| IpAddr::from([10, 0, 0, n]))).unwrap().len(), MAX_ADDRESSES);
    }

    #[test]
    fn no_provider_is_link_local() {
        let check = |found: &[&str]| without_link_local(found.iter().map(|text| ip(text)).collect());
        assert_eq!(check(&["169.254.169.254", "10.0.0.1", "fe80::1"]), Ok(vec![ip("10.0.0.1")]));
        assert!(check(&["fd00:ec2::254"]).unwrap_err().contains("ALLOW_LINK_LOCAL_UPSTREAMS"));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn the_last_good_answer_stays() {
        let shared = shared();
        let (one, two) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let script = [Ok(vec![one]), Err("no answer".to_owned()), Err("no answer".to_owned()), Ok(vec![two])];
        let mut names = scripted(&shared, &[("a", &script)]);
        names.need(&hosts(["a"]));
        assert_eq!((shared.names.get("a"), names.has_all(&hosts(["a"]))), (None, false));
        // When each answer comes, in seconds, and what is known then.
        let rows = [(0, "10.0.0.1"), (30, "10.0.0.1"), (31, "10.0.0.1"), (33, "10.0.0.2"), (63, "10.0.0.2")];
        let start = Instant::now();
        for (second, expected) in rows {
            while !take_answer(&mut names).await {}
            assert_eq!(start.elapsed().as_secs(), second);
            assert_eq!(shared.names.get("a"), addresses(&[expected]), "second {second}");
        }
    }

    async fn take_answer(names: &mut Names) -> bool {
        let step = names.next().await;
        let answered = matches!(step, Step::Answered(..));
        names.take(step);
        answered
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn failure_is_known_too_and_retried_at_a_growing_distance() {
        let shared = shared();
        let mut names = scripted(&shared, &[("a", &[Err("no such name".to_owned())])]);
        names.need(&hosts(["a"]));
        let start = Instant::now();
        for second in [0, 1, 3, 7, 15, 31, 61, 91] {
            while !take_answer(&mut names).await {}
            assert_eq!(start.elapsed().as_secs(), second);
            assert_eq!(shared.names.get("a"), failed("no such name"));
            assert!(names.has_all(&hosts(["a"])));
        }
    }

    /// A worker that can't connect has the name resolved at once, and not again within a second.
    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn outdated_addresses_are_renewed_at_once() {
        let shared = shared();
        let script = [Ok(vec![ip("10.0.0.1")]), Ok(vec![ip("10.0.0.2")]), Ok(vec![ip("10.0.0.3")])];
        let mut names = scripted(&shared, &[("a", &script)]);
        names.need(&hosts(["a"]));
        take_answer(&mut names).await;
        assert!(!shared.names.renew("unknown") && !shared.names.renew("a"), "the answer is new");
        let start = Instant::now();
        // The time of the table is that of the machine, which is not paused.
        let at = shared.names.resolved_at("a").unwrap() - crate::shared::names::NEW_FOR;
        let resolved = shared.names.get("a").unwrap();
        shared.names.publish(HashMap::from([("a".to_owned(), Known { resolved, resolved_at: at })]));
        assert!(shared.names.renew("a"));
        while !take_answer(&mut names).await {}
        assert_eq!((shared.names.get("a"), start.elapsed()), (addresses(&["10.0.0.2"]), Duration::ZERO));
        assert!(!shared.names.renew("a") && shared.names.resolved_at("a") != Some(at));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn workers_are_answered_and_old_names_forgotten() {
        let shared = shared();
        let answer = [Ok(vec![ip("10.0.0.1")])];
        let mut names = scripted(&shared, &[("a", &answer), ("b", &answer), ("c", &answer)]);
        names.need(&hosts(["a", "b"]));
        while !names.has_all(&hosts(["a", "b"])) {
            take_answer(&mut names).await;
        }
        names.keep(hosts(["b"]));
        assert_eq!((shared.names.get("a"), shared.names.get("b")), (None, addresses(&["10.0.0.1"])));

        let from = Instant::now();
        let worker = shared.clone();
        std::thread::spawn(move || worker.names.request("c")).join().unwrap();
        while shared.names.get("c").is_none() {
            take_answer(&mut names).await;
        }
        assert_eq!(from.elapsed(), Duration::ZERO);
        while shared.names.get("c").is_some() {
            take_answer(&mut names).await;
        }
        assert!(from.elapsed() >= KEEP_REQUESTED && from.elapsed() < KEEP_REQUESTED + 2 * REFRESH);
        assert_eq!(shared.names.get("b"), addresses(&["10.0.0.1"]));
    }

    #[tokio::test]
    async fn the_system_knows_itself() {
        let found = lookup_system("localhost".to_owned()).await.unwrap();
        assert!(found[0].is_loopback() && found.iter().skip_while(|ip| ip.is_ipv4()).all(IpAddr::is_ipv6), "{found:?}");
        assert_eq!(lookup_system("192.0.2.7".to_owned()).await, Ok(vec![ip("192.0.2.7")]));
        assert!(lookup_system("no..name".to_owned()).await.is_err());
    }
}
