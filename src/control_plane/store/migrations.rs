//! The numbered steps from an empty store to the one that `config::rows` describes. They are part
//! of the binary; a step that was released is never edited, which its checksum in the store makes
//! sure of.

use sha2::{Digest, Sha256};

use crate::control_plane::store::error::{Error, Fault};

#[derive(Debug)]
pub(super) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub up: &'static str,
    /// Reverts the step and removes its data.
    pub down: &'static str,
}

pub(super) const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "initial",
        up: include_str!("../../../migrations/sqlite/0001_initial.up.sql"),
        down: include_str!("../../../migrations/sqlite/0001_initial.down.sql"),
    },
    Migration {
        version: 2,
        name: "admin",
        up: include_str!("../../../migrations/sqlite/0002_admin.up.sql"),
        down: include_str!("../../../migrations/sqlite/0002_admin.down.sql"),
    },
    Migration {
        version: 3,
        name: "tables",
        up: include_str!("../../../migrations/sqlite/0003_tables.up.sql"),
        down: include_str!("../../../migrations/sqlite/0003_tables.down.sql"),
    },
    Migration {
        version: 4,
        name: "groups",
        up: include_str!("../../../migrations/sqlite/0004_groups.up.sql"),
        down: include_str!("../../../migrations/sqlite/0004_groups.down.sql"),
    },
    Migration {
        version: 5,
        name: "models",
        up: include_str!("../../../migrations/sqlite/0005_models.up.sql"),
        down: include_str!("../../../migrations/sqlite/0005_models.down.sql"),
    },
    Migration {
        version: 6,
        name: "budgets",
        up: include_str!("../../../migrations/sqlite/0006_budgets.up.sql"),
        down: include_str!("../../../migrations/sqlite/0006_budgets.down.sql"),
    },
    Migration {
        version: 7,
        name: "spend",
        up: include_str!("../../../migrations/sqlite/0007_spend.up.sql"),
        down: include_str!("../../../migrations/sqlite/0007_spend.down.sql"),
    },
    Migration {
        version: 8,
        name: "traces",
        up: include_str!("../../../migrations/sqlite/0008_traces.up.sql"),
        down: include_str!("../../../migrations/sqlite/0008_traces.down.sql"),
    },
    Migration {
        version: 9,
        name: "prices",
        up: include_str!("../../../migrations/sqlite/0009_prices.up.sql"),
        down: include_str!("../../../migrations/sqlite/0009_prices.down.sql"),
    },
    Migration {
        version: 10,
        name: "downgrade",
        up: include_str!("../../../migrations/sqlite/0010_downgrade.up.sql"),
        down: include_str!("../../../migrations/sqlite/0010_downgrade.down.sql"),
    },
    Migration {
        version: 11,
        name: "reports",
        up: include_str!("../../../migrations/sqlite/0011_reports.up.sql"),
        down: include_str!("../../../migrations/sqlite/0011_reports.down.sql"),
    },
    Migration {
        version: 12,
        name: "durations",
        up: include_str!("../../../migrations/sqlite/0012_durations.up.sql"),
        down: include_str!("../../../migrations/sqlite/0012_durations.down.sql"),
    },
    Migration {
        version: 13,
        name: "audit",
        up: include_str!("../../../migrations/sqlite/0013_audit.up.sql"),
        down: include_str!("../../../migrations/sqlite/0013_audit.down.sql"),
    },
];

pub(super) const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "initial",
        up: include_str!("../../../migrations/postgres/0001_initial.up.sql"),
        down: include_str!("../../../migrations/postgres/0001_initial.down.sql"),
    },
    Migration {
        version: 2,
        name: "own",
        up: include_str!("../../../migrations/postgres/0002_own.up.sql"),
        down: include_str!("../../../migrations/postgres/0002_own.down.sql"),
    },
    Migration {
        version: 3,
        name: "tables",
        up: include_str!("../../../migrations/postgres/0003_tables.up.sql"),
        down: include_str!("../../../migrations/postgres/0003_tables.down.sql"),
    },
    Migration {
        version: 4,
        name: "groups",
        up: include_str!("../../../migrations/postgres/0004_groups.up.sql"),
        down: include_str!("../../../migrations/postgres/0004_groups.down.sql"),
    },
    Migration {
        version: 5,
        name: "models",
        up: include_str!("../../../migrations/postgres/0005_models.up.sql"),
        down: include_str!("../../../migrations/postgres/0005_models.down.sql"),
    },
    Migration {
        version: 6,
        name: "budgets",
        up: include_str!("../../../migrations/postgres/0006_budgets.up.sql"),
        down: include_str!("../../../migrations/postgres/0006_budgets.down.sql"),
    },
    Migration {
        version: 7,
        name: "spend",
        up: include_str!("../../../migrations/postgres/0007_spend.up.sql"),
        down: include_str!("../../../migrations/postgres/0007_spend.down.sql"),
    },
    Migration {
        version: 8,
        name: "traces",
        up: include_str!("../../../migrations/postgres/0008_traces.up.sql"),
        down: include_str!("../../../migrations/postgres/0008_traces.down.sql"),
    },
    Migration {
        version: 9,
        name: "prices",
        up: include_str!("../../../migrations/postgres/0009_prices.up.sql"),
        down: include_str!("../../../migrations/postgres/0009_prices.down.sql"),
    },
    Migration {
        version: 10,
        name: "downgrade",
        up: include_str!("../../../migrations/postgres/0010_downgrade.up.sql"),
        down: include_str!("../../../migrations/postgres/0010_downgrade.down.sql"),
    },
    Migration {
        version: 11,
        name: "reports",
        up: include_str!("../../../migrations/postgres/0011_reports.up.sql"),
        down: include_str!("../../../migrations/postgres/0011_reports.down.sql"),
    },
    Migration {
        version: 12,
        name: "durations",
        up: include_str!("../../../migrations/postgres/0012_durations.up.sql"),
        down: include_str!("../../../migrations/postgres/0012_durations.down.sql"),
    },
    Migration {
        version: 13,
        name: "audit",
        up: include_str!("../../../migrations/postgres/0013_audit.up.sql"),
        down: include_str!("../../../migrations/postgres/0013_audit.down.sql"),
    },
];

/// A row of `llm_proxy_migrations`.
#[derive(Debug)]
pub(super) struct Applied {
    pub version: i64,
    pub checksum: String,
}

impl Migration {
    /// SHA-256 of the step up, in hex.
    pub(super) fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.up.as_bytes()))
    }
}

/// Returns the steps of `known` that a store with `applied` still lacks.
pub(super) fn pending<'a>(known: &'a [Migration], applied: &[Applied]) -> Result<Vec<&'a Migration>, Error> {
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or_default();
    if let Some(ahead) = applied.iter().map(|step| step.version).max().filter(|version| *version > newest) {
        let message = format!(
            "was written by a newer llm-proxy (its schema is {ahead}, this binary knows {newest}); \
             run that version, or use another store"
        );
        return Err(Error::new(Fault::Version, message));
    }
    let mut missing = Vec::new();
    for migration in known {
        match applied.iter().find(|step| step.version == migration.version) {
            None => missing.push(migration),
            Some(step) if step.checksum == migration.checksum() => {}
            Some(_) => {
                let message = format!(
                    "has schema {} ({}) in a form that this binary does not know; run the version that wrote it",
                    migration.version, migration.name
                );
                return Err(Error::new(Fault::Version, message));
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::store::logs::hours::DURATION_BOUNDS;

    #[test]
    fn numbers_count_from_one() {
        assert!(SQLITE.iter().map(|migration| migration.version).eq(1..=SQLITE.len() as i64));
    }

    /// The sums of hours that were counted from rows have the classes that the program reads.
    #[test]
    fn durations_are_counted_by_the_classes_of_the_program() {
        let expected: Vec<i64> = DURATION_BOUNDS.iter().copied().chain([i64::MAX]).collect();
        for migrations in [SQLITE, POSTGRES] {
            let step = migrations.iter().rfind(|migration| migration.name == "durations").unwrap();
            let values = step.up.split_once("VALUES ").unwrap().1.split_once("\n)").unwrap().0;
            let bounds = values.split(',').map(|value| value.trim().trim_matches(['(', ')']).parse().unwrap());
            assert_eq!(bounds.collect::<Vec<i64>>(), expected);
        }
    }

    #[test]
    fn what_is_pending() {
        let step = |version, up| Migration { version, name: "step", up, down: "" };
        let done = |migration: &Migration| Applied { version: migration.version, checksum: migration.checksum() };
        let known = [step(1, "a"), step(2, "b")];
        let versions = |applied: &[Applied]| -> Result<Vec<i64>, Fault> {
            pending(&known, applied).map(|steps| steps.iter().map(|s| s.version).collect()).map_err(|e| e.fault)
        };
        assert_eq!(versions(&[]), Ok(vec![1, 2]));
        assert_eq!(versions(&[done(&known[0])]), Ok(vec![2]));
        assert_eq!(versions(&[done(&known[0]), done(&known[1])]), Ok(vec![]));
        assert_eq!(versions(&[done(&step(3, "c"))]), Err(Fault::Version));
        assert_eq!(versions(&[done(&step(1, "edited"))]), Err(Fault::Version));
    }
}
