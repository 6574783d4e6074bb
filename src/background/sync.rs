//! Follows the store: rows -> compile -> names -> publish.
//!
//! A new configuration is published when something is known of every host in it, or after [`NAMES`]: so that no request has to wait for a
//! name. Until then the old one is in force. What the store can't tell now, it is asked for again; nothing is taken away meanwhile.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::resolve::Names;
use super::store::{Error, Store};
use crate::config::boot::Environment;
use crate::config::compile::compile;
use crate::config::rows::ProviderRow;
use crate::config::snapshot::{Credential, Problem, Snapshot};
use crate::control::Shared;

/// How often the store is asked whether it changed. With SQLite that is a read of one number.
pub(super) const LOOK: Duration = Duration::from_millis(200);
/// The longest pause between tries of a store that fails; it begins at [`LOOK`] and doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a new configuration waits for its names.
const NAMES: Duration = Duration::from_secs(2);

pub(super) struct Sync {
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    environment: Environment,
    trouble: Option<Trouble>,
    next: Option<Next>,
    /// What the snapshot in force was made of: rows that are served, by id.
    providers: HashMap<i64, ProviderRow>,
    /// Those of the snapshot in force, which were told.
    problems: Vec<Problem>,
}

/// The store fails.
struct Trouble {
    message: String,
    pause: Duration,
    until: Instant,
}

/// A configuration that is not in force yet.
struct Next {
    snapshot: Snapshot,
    problems: Vec<Problem>,
    providers: HashMap<i64, ProviderRow>,
    hosts: HashSet<String>,
    /// When it is published, whatever is known of its hosts.
    deadline: Instant,
}

impl Sync {
    pub(super) fn new(shared: Arc<Shared>, store: Box<dyn Store>, environment: Environment) -> Sync {
        let (providers, problems) = Default::default();
        Sync { shared, store, environment, trouble: None, next: None, providers, problems }
    }

    /// Looks whether the store changed, and begins to bring a change into force.
    pub(super) fn look(&mut self, names: &mut Names) {
        if self.trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.until) {
            return;
        }
        let looked = match self.store.changed() {
            Ok(false) => Ok(()),
            Ok(true) => self.load(names),
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) if self.trouble.take().is_some() => tracing::info!("gateway: the store can be read again"),
            Ok(()) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Each message is told once, until the store works again.
    fn fail(&mut self, error: &Error) {
        let message = error.to_string();
        let pause = match &self.trouble {
            Some(trouble) => (trouble.pause * 2).min(LONGEST_PAUSE),
            None => LOOK,
        };
        if self.trouble.as_ref().is_none_or(|trouble| trouble.message != message) {
            tracing::error!("gateway: the store can't be read, the configuration in force stays: {message}");
        }
        self.trouble = Some(Trouble { message, pause, until: Instant::now() + pause });
    }

    /// Reads and compiles everything, and begins to look for the names in it.
    pub(super) fn load(&mut self, names: &mut Names) -> Result<(), Error> {
        let rows = self.store.load()?;
        let environment = |name: &str| self.environment.get(name).map(str::to_owned);
        let (snapshot, problems) = compile(&rows, Some(&self.shared.publisher.load()), &environment);
        let served: HashSet<i64> = snapshot.providers.iter().map(|provider| provider.id).collect();
        let rows = rows.providers.into_iter().filter(|row| served.contains(&row.id));
        let hosts = hosts(&snapshot);
        names.need(&hosts);
        // A store that keeps changing can't put the change off.
        let latest = Instant::now() + NAMES;
        let deadline = self.next.as_ref().map_or(latest, |next| next.deadline.min(latest));
        let providers = rows.map(|row| (row.id, row)).collect();
        self.next = Some(Next { snapshot, problems, providers, hosts, deadline });
        Ok(())
    }

    /// When [`Sync::publish`] publishes at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next.as_ref().map(|next| next.deadline)
    }

    /// Brings what was loaded into force if it is time. Gives the snapshot that is in force then.
    pub(super) fn publish(&mut self, names: &mut Names) -> Option<Arc<Snapshot>> {
        let ready = |next: &mut Next| names.know(&next.hosts) || next.deadline <= Instant::now();
        let next = self.next.take_if(ready)?;
        let before = self.shared.publisher.load();
        let generation = self.shared.publisher.publish(next.snapshot);
        let after = self.shared.publisher.load();
        names.keep(next.hosts);
        tracing::info!(
            generation,
            version = after.version,
            "gateway: configuration in force: {} providers ({}), {} credentials ({}), {} problems",
            after.providers.len(),
            changes(&self.providers, &next.providers, PartialEq::eq),
            after.credentials.len(),
            // Those that did not change were carried over as they are.
            changes(&by_id(&before), &by_id(&after), |a, b| Arc::ptr_eq(a, b)),
            next.problems.len(),
        );
        for problem in next.problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!("gateway: {}: {}", problem.object, problem.message);
        }
        for problem in self.problems.iter().filter(|problem| !next.problems.contains(problem)) {
            tracing::info!("gateway: solved: {}: {}", problem.object, problem.message);
        }
        self.providers = next.providers;
        self.problems = next.problems;
        Some(after)
    }
}

/// Those that are names.
fn hosts(snapshot: &Snapshot) -> HashSet<String> {
    let hosts = snapshot.providers.iter().map(|provider| &provider.base.host);
    hosts.filter(|host| host.parse::<IpAddr>().is_err()).cloned().collect()
}

fn by_id(snapshot: &Snapshot) -> HashMap<i64, &Arc<Credential>> {
    snapshot.credentials.values().map(|credential| (credential.id, credential)).collect()
}

/// `+1 -0 ~2`: how many came, went, and are others than they were.
fn changes<T>(old: &HashMap<i64, T>, new: &HashMap<i64, T>, same: impl Fn(&T, &T) -> bool) -> String {
    let came = new.keys().filter(|id| !old.contains_key(id)).count();
    let went = old.keys().filter(|id| !new.contains_key(id)).count();
    let changed = new.iter().filter(|(id, new)| old.get(id).is_some_and(|old| !same(old, new))).count();
    format!("+{came} -{went} ~{changed}")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::background::store::Fault;
    use crate::config::boot::Boot;
    use crate::config::rows::{CredentialRow, Rows};
    use crate::control::Hints;

    #[test]
    fn counting_changes() {
        let old = HashMap::from([(1, "a"), (2, "b"), (3, "c")]);
        let new = HashMap::from([(2, "b"), (3, "d"), (4, "e"), (5, "f")]);
        assert_eq!(changes(&old, &new, PartialEq::eq), "+2 -1 ~1");
        assert_eq!(changes(&new, &new, PartialEq::eq), "+0 -0 ~0");
    }

    /// A store that a test changes under the hands of [`Sync`].
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Inner>>);

    #[derive(Default)]
    struct Inner {
        rows: Rows,
        seen: i64,
        broken: Option<&'static str>,
        asked: usize,
    }

    impl Fake {
        fn change(&self, hosts: &[&str]) {
            let mut inner = self.0.lock().unwrap();
            inner.rows.version += 1;
            let provider = |(at, host): (usize, &&str)| ProviderRow {
                id: at as i64,
                provider_key: format!("p{at}"),
                provider_type: "openai".into(),
                api_base: format!("http://{host}/v1"),
                model_mapping: "{}".into(),
                provider_params: "{}".into(),
                is_enabled: true,
                ..ProviderRow::default()
            };
            inner.rows.providers = hosts.iter().enumerate().map(provider).collect();
        }

        fn broken(&self, why: Option<&'static str>) {
            self.0.lock().unwrap().broken = why;
        }

        fn asked(&self) -> usize {
            std::mem::take(&mut self.0.lock().unwrap().asked)
        }
    }

    impl Store for Fake {
        fn load(&mut self) -> Result<Rows, Error> {
            let mut inner = self.0.lock().unwrap();
            inner.seen = inner.rows.version;
            Ok(inner.rows.clone())
        }

        fn version(&mut self) -> Result<i64, Error> {
            unreachable!()
        }

        fn changed(&mut self) -> Result<bool, Error> {
            let mut inner = self.0.lock().unwrap();
            inner.asked += 1;
            match inner.broken {
                Some(why) => Err(Error { fault: Fault::Unavailable, message: why.to_owned() }),
                None => Ok(inner.rows.version != inner.seen),
            }
        }

        fn add_provider(&mut self, _: &ProviderRow) -> Result<i64, Error> {
            unreachable!()
        }

        fn remove_provider(&mut self, _: i64) -> Result<(), Error> {
            unreachable!()
        }

        fn create_credential(&mut self, _: &CredentialRow) -> Result<i64, Error> {
            unreachable!()
        }

        fn revoke_credential(&mut self, _: i64) -> Result<(), Error> {
            unreachable!()
        }
    }

    struct Rig {
        store: Fake,
        shared: Arc<Shared>,
        sync: Sync,
        names: Names,
    }

    /// Names that begin with `slow` are never answered, others at once.
    fn rig() -> Rig {
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        let shared = Arc::new(Shared::new(Boot::default(), 1, hints));
        let store = Fake::default();
        let names = Names::with(
            shared.clone(),
            Box::new(|host| {
                let slow = host.starts_with("slow");
                Box::pin(async move {
                    if slow { std::future::pending().await } else { Ok(vec![IpAddr::from([10, 0, 0, 1])]) }
                })
            }),
        );
        let sync = Sync::new(shared.clone(), Box::new(store.clone()), Environment::default());
        Rig { store, shared, sync, names }
    }

    impl Rig {
        /// Goes on until a configuration is published.
        async fn published(&mut self) -> Arc<Snapshot> {
            loop {
                if let Some(snapshot) = self.sync.publish(&mut self.names) {
                    return snapshot;
                }
                tokio::select! {
                    step = self.names.next() => self.names.take(step),
                    () = super::super::until(self.sync.deadline()) => {}
                }
            }
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn names_are_known_before_a_configuration_is_in_force() {
        let mut rig = rig();
        rig.store.change(&["a", "192.0.2.1", "[::1]", "b"]);
        rig.sync.look(&mut rig.names);
        assert!(rig.sync.publish(&mut rig.names).is_none());
        let start = Instant::now();
        assert_eq!(rig.published().await.providers.len(), 4);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(rig.shared.names.get("a").is_some() && rig.shared.names.get("b").is_some());
        rig.sync.look(&mut rig.names);
        assert!(rig.sync.deadline().is_none(), "nothing has changed");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_slow_name_does_not_hold_a_change_for_long_even_if_more_follow() {
        let mut rig = rig();
        let start = Instant::now();
        for n in 0..3 {
            rig.store.change(&["a", "slow", &format!("slow{n}")]);
            rig.sync.look(&mut rig.names);
            assert!(rig.sync.publish(&mut rig.names).is_none());
            tokio::time::advance(NAMES / 4).await;
        }
        let snapshot = rig.published().await;
        assert_eq!((snapshot.version, snapshot.generation, start.elapsed()), (3, 1, NAMES));
        assert!(rig.shared.names.get("a").is_some() && rig.shared.names.get("slow").is_none());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_store_that_fails_is_asked_less_and_less_and_nothing_is_lost() {
        let mut rig = rig();
        rig.store.change(&["a"]);
        rig.sync.look(&mut rig.names);
        rig.published().await;
        rig.store.change(&["a", "b"]);
        rig.store.broken(Some("the disk is gone"));
        rig.store.asked();
        for _ in 0..60_000 / 200 {
            rig.sync.look(&mut rig.names);
            tokio::time::advance(LOOK).await;
        }
        // After 0.2, 0.4, ... 6.4 s and then every 10 s.
        assert_eq!(rig.store.asked(), 11);
        assert_eq!(rig.shared.publisher.load().providers.len(), 1);
        rig.store.broken(None);
        tokio::time::advance(LONGEST_PAUSE).await;
        rig.sync.look(&mut rig.names);
        assert_eq!(rig.published().await.providers.len(), 2);
        assert!(rig.sync.trouble.is_none());
    }
}
