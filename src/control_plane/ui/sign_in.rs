//! The page that asks for the admin key, and all other files that need no session.

use maud::{Markup, html};

use super::assets;
use super::html::document;
use crate::shared::admin::PageFile;

/// Returns the files that are served without a session.
pub(crate) fn files() -> Vec<PageFile> {
    let page = page().into_string().into_bytes();
    let mut files = assets::files();
    files.push(PageFile {
        path: "/sign-in".to_owned(),
        content_type: "text/html; charset=utf-8",
        gzip: assets::gzip(&page),
        body: page,
        is_immutable: false,
    });
    files
}

fn page() -> Markup {
    document(
        "Sign in",
        html! {
            main.sign-in {
                h1 { "llm-proxy" }
                form #sign-in {
                    label for="key" { "Admin key" }
                    input #key type="password" name="key" autocomplete="current-password" required autofocus;
                    p.hint {
                        "The value of " code { "ADMIN_KEY" } ", or of " code { "ADMIN_READ_KEY" } " to look only. "
                        "Where neither is set, a first start on a terminal writes a key to " code { "admin.key" }
                        " in the data directory, for browsers on the same machine."
                    }
                    p.error role="alert" hidden {}
                    button type="submit" { "Sign in" }
                    noscript { p.error { "This page needs JavaScript. The admin interface at /admin/v1 does not." } }
                }
            }
        },
    )
}
