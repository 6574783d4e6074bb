//! Style sheets and scripts are served under a name with a hash of their
//! content, so that a browser may keep them for ever.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::shared::admin::PageFile;

struct Source {
    /// As the others import it, without `./`.
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A script comes behind those that it imports.
const SOURCES: &[Source] = &[
    Source { name: "page.css", content_type: CSS, content: include_str!("assets/page.css") },
    Source { name: "admin.js", content_type: SCRIPT, content: include_str!("assets/admin.js") },
    Source { name: "form.js", content_type: SCRIPT, content: include_str!("assets/form.js") },
    Source { name: "page.js", content_type: SCRIPT, content: include_str!("assets/page.js") },
    Source { name: "requests.js", content_type: SCRIPT, content: include_str!("assets/requests.js") },
    Source { name: "answers.js", content_type: SCRIPT, content: include_str!("assets/answers.js") },
    Source { name: "playground.js", content_type: SCRIPT, content: include_str!("assets/playground.js") },
    Source { name: "icon.svg", content_type: SVG, content: include_str!("assets/icon.svg") },
];

/// A file as it is served.
struct Asset {
    source: &'static Source,
    /// The path behind `/ui`.
    path: String,
    content: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut assets: Vec<Asset> = Vec::new();
    for source in SOURCES {
        // An import names the address with the hash, so that a change of a script is one of those
        // that import it as well.
        let content = assets.iter().fold(source.content.to_owned(), |content, imported| {
            content.replace(&format!("from \"./{}\"", imported.source.name), &format!("from \"/ui{}\"", imported.path))
        });
        let hash = hex::encode(Sha256::digest(&content));
        let (stem, extension) = source.name.split_once('.').unwrap_or((source.name, ""));
        let path = format!("/assets/{stem}-{}.{extension}", &hash[..16]);
        assets.push(Asset { source, path, content });
    }
    assets
});

/// Returns the address of an asset, such as `page.css`.
pub(super) fn address(name: &str) -> String {
    let asset = ASSETS.iter().find(|asset| asset.source.name == name);
    asset.map(|asset| format!("/ui{}", asset.path)).unwrap_or_default()
}

/// Returns the style sheets, scripts and pictures.
pub(super) fn files() -> Vec<PageFile> {
    let file = |asset: &Asset| PageFile {
        path: asset.path.clone(),
        content_type: asset.source.content_type,
        body: asset.content.clone().into_bytes(),
        gzip: gzip(asset.content.as_bytes()),
        is_immutable: true,
    };
    ASSETS.iter().map(file).collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_is_an_address_with_a_hash() {
        for asset in ASSETS.iter() {
            assert!(!asset.content.contains("from \"./"), "{} imports what comes behind it", asset.source.name);
        }
        let page = ASSETS.iter().find(|asset| asset.source.name == "page.js").map(|asset| &asset.content);
        assert!(page.is_some_and(|page| page.contains(&format!("from \"{}\"", address("form.js")))));
    }
}
