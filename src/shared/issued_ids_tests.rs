//! Tests of the table of issued ids, which stand apart since its file is compiled under loom too.

use std::sync::Arc;
use std::thread;

use super::issued_ids::{Issued, IssuedIds};

fn issued(provider: i64, owner: u64) -> Issued {
    Issued { provider, owner }
}

#[test]
fn an_id_is_found_until_newer_ones_need_its_place() {
    let table = IssuedIds::new(4);
    let hash = |n: u64| table.hash(&n.to_le_bytes());
    assert_eq!(table.find(hash(0)), None);
    for n in 0..4 {
        table.remember(hash(n), issued(n as i64 + 1, n));
    }
    assert_eq!(table.find(hash(0)), Some(issued(1, 0)));
    // Remembered again, it is the latest.
    table.remember(hash(0), issued(9, 0));
    table.remember(hash(4), issued(5, 4));
    let found: Vec<_> = (0..5).map(|n| table.find(hash(n)).map(|issued| issued.provider)).collect();
    assert_eq!(found, [Some(9), None, Some(3), Some(4), Some(5)]);
}

#[test]
fn a_table_without_room_remembers_nothing() {
    let table = IssuedIds::new(0);
    table.remember(table.hash(b"resp_1"), issued(1, 1));
    assert_eq!(table.find(table.hash(b"resp_1")), None);
}

/// Readers beside writers of one bucket find what was written for their id, or nothing.
#[test]
fn half_a_write_is_no_entry() {
    let table = Arc::new(IssuedIds::new(4));
    let of = |n: u64| issued(n as i64 * 7 + 1, n * 3);
    let writers = (0..3_u64).map(|from| {
        let table = table.clone();
        thread::spawn(move || {
            for round in 0..20_000_u64 {
                let n = (round * 3 + from) % 12;
                table.remember(table.hash(&n.to_le_bytes()), of(n));
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 0..60_000_u64 {
        let n = round % 12;
        if let Some(found) = table.find(table.hash(&n.to_le_bytes())) {
            assert_eq!(found, of(n));
        }
    }
    for writer in writers {
        writer.join().unwrap();
    }
}
