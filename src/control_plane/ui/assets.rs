//! Files that need no session. Style sheets and scripts are served under a name with a hash of their
//! content, so that a browser may keep them for ever.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use maud::{Markup, html};
use sha2::{Digest, Sha256};

use super::html::document;
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

/// All files.
pub(crate) fn files() -> Vec<PageFile> {
    let asset = |(source, path): (&Source, &String)| PageFile {
        path: path.clone(),
        content_type: source.content_type,
        body: source.content.into(),
        gzip: gzip(source.content.as_bytes()),
        is_immutable: true,
    };
    let mut files: Vec<_> = SOURCES.iter().zip(ADDRESSES.iter()).map(asset).collect();
    let sign_in = sign_in().into_string().into_bytes();
    files.push(PageFile {
        path: "/sign-in".to_owned(),
        content_type: "text/html; charset=utf-8",
        gzip: gzip(&sign_in),
        body: sign_in,
        is_immutable: false,
    });
    files
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn sign_in() -> Markup {
    document(
        "Sign in",
        html! {
            main.sign-in {
                h1 { "llm-proxy" }
                form #sign-in {
                    label for="key" { "Admin key" }
                    input #key type="password" name="key" autocomplete="current-password" required autofocus;
                    p.hint { "The value of " code { "ADMIN_KEY" } ", or of " code { "ADMIN_READ_KEY" } " to look only." }
                    p.error role="alert" hidden {}
                    button type="submit" { "Sign in" }
                    noscript { p.error { "This page needs JavaScript. The admin interface at /admin/v1 does not." } }
                }
            }
        },
    )
}
