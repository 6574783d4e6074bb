//! The table of properties in `ARCHITECTURE.md` is true: each number has its row, and each test
//! that a row names is there.

use std::fs;
use std::path::Path;

const TEXT: &str = include_str!("../../ARCHITECTURE.md");

/// All source below a path without its ending: a file, and a folder of the same name.
fn sources(path: &Path, out: &mut String) {
    let file = path.with_extension("rs");
    if file.is_file() {
        out.push_str(&fs::read_to_string(file).unwrap());
    }
    if path.is_file() {
        out.push_str(&fs::read_to_string(path).unwrap());
    }
    for entry in fs::read_dir(path).into_iter().flatten() {
        sources(&entry.unwrap().path(), out);
    }
}

#[test]
fn every_property_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lines = TEXT.lines().skip_while(|line| *line != "| | property | tests |").skip(2);
    for number in 1..=60 {
        let row = lines.next().unwrap_or_default();
        assert!(row.starts_with(&format!("| {number} | ")), "property {number} has no row, but: {row}");
        let (mut source, mut count) = (String::new(), 0);
        for word in row.split('`').skip(1).step_by(2) {
            if word.contains('/') {
                source.clear();
                sources(&root.join(word), &mut source);
                assert!(!source.is_empty(), "{word} of property {number} is no file");
            } else {
                let (rust, python) = (format!("fn {word}("), format!("def {word}("));
                assert!(
                    source.contains(&rust) || source.contains(&python),
                    "property {number}: no test `{word}` there"
                );
                count += 1;
            }
        }
        assert!(count > 0 || row.contains("no "), "property {number} has neither a test nor a reason: {row}");
    }
}
