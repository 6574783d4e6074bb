//! Style sheets and scripts are served under a name with a hash of their
//! content, so that a browser may keep them for ever.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::shared::admin::PageFile;

struct Source {
    name: &'static str,
    extension: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const SOURCES: &[Source] = &[
    Source {
        name: "page",
        extension: "css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("assets/page.css"),
    },
    Source { name: "page", extension: "js", content_type: SCRIPT, content: include_str!("assets/page.js") },
    Source { name: "playground", extension: "js", content_type: SCRIPT, content: include_str!("assets/playground.js") },
    Source { name: "icon", extension: "svg", content_type: "image/svg+xml", content: include_str!("assets/icon.svg") },
];

/// The addresses of the assets, in the order of [`SOURCES`].
static ADDRESSES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let address = |source: &Source| {
        let hash = hex::encode(Sha256::digest(source.content));
        format!("/assets/{}-{}.{}", source.name, &hash[..16], source.extension)
    };
    SOURCES.iter().map(address).collect()
});

/// The address of an asset, such as `page.css`.
pub(super) fn address(file: &str) -> String {
    let at = SOURCES.iter().position(|source| file == format!("{}.{}", source.name, source.extension));
    at.map(|at| format!("/ui{}", ADDRESSES[at])).unwrap_or_default()
}

/// Returns the style sheets, scripts and pictures.
pub(super) fn files() -> Vec<PageFile> {
    let asset = |(source, path): (&Source, &String)| PageFile {
        path: path.clone(),
        content_type: source.content_type,
        body: source.content.into(),
        gzip: gzip(source.content.as_bytes()),
        is_immutable: true,
    };
    SOURCES.iter().zip(ADDRESSES.iter()).map(asset).collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
