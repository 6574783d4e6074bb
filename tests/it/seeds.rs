//! The seeds of the fuzz targets hold without a fuzzer too: each is read by the property that its
//! target checks.
//!
//! An input that broke a property once is kept among the seeds, under a name that says what it was.

use std::fs;
use std::path::{Path, PathBuf};

use llm_http::{coding, transcript};
use llm_wire::{json, sse};

const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("http_head", transcript::check_heads),
    ("http_body", transcript::check_bodies),
    ("http_coding", coding::check),
    ("json_scan", json::property::check),
    ("sse_frame", sse::property::check),
    ("wire_request", llm_wire::testing::check_request),
    ("wire_stream", llm_wire::testing::check_stream),
];

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The name of a file, for messages.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed is {}", self.0.display());
        }
    }
}

#[test]
fn every_seed_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for dir in files(&root) {
        assert!(known.contains(&dir.file_name().unwrap().to_str().unwrap()), "no target for {}", dir.display());
    }
    for (name, property) in TARGETS {
        let seeds = files(&root.join(name));
        assert!(seeds.len() > 3, "{name}");
        for path in seeds {
            let seed = Named(path);
            property(&fs::read(&seed.0).unwrap());
        }
    }
}
