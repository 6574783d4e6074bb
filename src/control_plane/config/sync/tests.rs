use std::sync::Mutex;

use super::*;
use crate::config::boot::Boot;
use crate::config::rows::{ProviderRow, Rows};
use crate::control_plane::store::{AuditFilter, AuditList, Write, Written};
use crate::shared::Hints;

/// A store that a test changes under the hands of [`Sync`].
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    rows: Rows,
    broken: Option<&'static str>,
    reads: usize,
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

    fn reads(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().reads)
    }

    fn rows(&self) -> Result<Rows, Error> {
        let mut inner = self.0.lock().unwrap();
        inner.reads += 1;
        match inner.broken {
            Some(why) => Err(Error::new(Fault::Unavailable, why)),
            None => Ok(inner.rows.clone()),
        }
    }
}

impl Store for Fake {
    fn place(&self) -> String {
        unreachable!()
    }

    fn version(&self) -> Answer<'_, i64> {
        unreachable!()
    }

    fn load(&self) -> Answer<'_, Rows> {
        Box::pin(async { self.rows() })
    }

    fn changes(&self, _: i64) -> Answer<'_, Changes> {
        Box::pin(async { self.rows().map(Changes::All) })
    }

    fn changed(&self, since: i64) -> Answer<'_, ()> {
        Box::pin(async move {
            while self.rows()?.version == since {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Ok(())
        })
    }

    fn write_all(&self, _: Vec<Write>) -> Answer<'_, Vec<Written>> {
        unreachable!()
    }

    fn audit_log(&self, _: AuditFilter, _: u32) -> Answer<'_, AuditList> {
        unreachable!()
    }
}

struct Rig {
    store: Fake,
    shared: Arc<ProcessState>,
    sync: Sync,
    names: Names,
}

/// Names that begin with `slow` are never answered, others at once.
async fn rig(hosts: &[&str]) -> Rig {
    let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
    let shared = Arc::new(ProcessState::new(Boot::default(), 1, hints));
    let store = Fake::default();
    store.change(hosts);
    let mut names = Names::with(
        shared.clone(),
        Box::new(|host| {
            let slow = host.starts_with("slow");
            Box::pin(
                async move { if slow { std::future::pending().await } else { Ok(vec![IpAddr::from([10, 0, 0, 1])]) } },
            )
        }),
    );
    let mut sync =
        Sync::new(shared.clone(), Arc::new(store.clone()), Environment::default(), ControlPlaneMetrics::new(&shared));
    sync.load(&mut names).await.unwrap();
    Rig { store, shared, sync, names }
}

impl Rig {
    /// Goes on until a configuration is published.
    async fn published(&mut self) -> Arc<Snapshot> {
        loop {
            if let Some(snapshot) = self.sync.publish(&mut self.names) {
                return snapshot;
            }
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let late = self.sync.deadline();
        tokio::select! {
            step = self.names.next() => self.names.take(step),
            step = self.sync.next() => self.sync.take(step, &mut self.names),
            () = until(late) => {}
        }
    }

    /// Goes on for so long, during which nothing may become ready to be published.
    async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while tokio::time::timeout_at(end, self.step()).await.is_ok() {}
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn names_are_known_before_a_configuration_is_in_force() {
    let mut rig = rig(&["a", "192.0.2.1", "[::1]", "b"]).await;
    assert!(rig.sync.publish(&mut rig.names).is_none());
    let start = Instant::now();
    assert_eq!(rig.published().await.providers.len(), 4);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(rig.shared.names.get("a").is_some() && rig.shared.names.get("b").is_some());
    rig.run(NAMES_TIMEOUT).await;
    assert!(rig.sync.deadline().is_none(), "nothing has changed");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_slow_name_does_not_hold_a_change_for_long_even_if_more_follow() {
    let mut rig = rig(&["a", "slow"]).await;
    let start = Instant::now();
    for n in 0..3 {
        rig.store.change(&["a", "slow", &format!("slow{n}")]);
        rig.run(NAMES_TIMEOUT / 4).await;
        assert!(rig.sync.publish(&mut rig.names).is_none());
    }
    let snapshot = rig.published().await;
    assert_eq!((snapshot.version, snapshot.generation, start.elapsed()), (4, 1, NAMES_TIMEOUT));
    assert!(rig.shared.names.get("a").is_some() && rig.shared.names.get("slow").is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn failing_store_is_polled_with_backoff() {
    let mut rig = rig(&["a"]).await;
    rig.published().await;
    rig.store.change(&["a", "b"]);
    rig.store.broken(Some("the disk is gone"));
    rig.store.reads();
    rig.run(Duration::from_secs(60)).await;
    // After 0.2, 0.4, ... 6.4 s and then every 10 s.
    assert_eq!(rig.store.reads(), 11);
    assert_eq!(rig.shared.publisher.load().providers.len(), 1);
    rig.store.broken(None);
    assert_eq!(rig.published().await.providers.len(), 2);
    assert!(rig.sync.outage.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn who_wrote_waits_until_it_is_in_force() {
    let mut rig = rig(&["a"]).await;
    rig.published().await;
    rig.store.change(&["a", "b"]);
    let (current, start) = (rig.sync.current.clone(), Instant::now());
    let publisher = rig.shared.clone();
    let writer = tokio::spawn(async move {
        current.reach(2).await;
        publisher.publisher.load().version
    });
    let published = async { while rig.published().await.version < 2 {} };
    published.await;
    assert_eq!(writer.await.unwrap(), 2);
    assert_eq!(start.elapsed(), Duration::ZERO, "without waiting for the next look");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_snapshot_is_freed_here_and_not_by_who_used_it_last() {
    let mut rig = rig(&["a"]).await;
    let used = rig.published().await;
    let seen = Arc::downgrade(&used);
    rig.store.change(&["b"]);
    rig.published().await;
    rig.sync.release();
    assert_eq!(rig.sync.retired.len(), 1);
    drop(used);
    assert_eq!(seen.strong_count(), 1);
    rig.sync.release();
    assert_eq!((seen.strong_count(), rig.sync.retired.len()), (0, 0));
}
