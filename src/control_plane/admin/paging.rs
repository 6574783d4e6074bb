//! Lists in pages: all of it unless `size` or `page` is asked for.

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::admin::request::{AdminRequest, Refusal};

/// The most that `size` may be.
pub(super) const MAX_SIZE: i64 = 1000;
/// `size` where only a page is asked for.
const DEFAULT_SIZE: i64 = 50;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Page {
    /// In all pages
    total_count: usize,
    /// From 1
    current_page: usize,
    /// Of a page; null is all
    size: Option<usize>,
    total_pages: usize,
}

impl Page {
    /// Returns the rows of the page that is asked for.
    pub(super) fn of<'a, T>(
        req: &AdminRequest,
        rows: impl Iterator<Item = &'a T>,
    ) -> Result<(Vec<&'a T>, Page), Refusal> {
        let page = req.number("page", 1, i64::from(u32::MAX))?;
        let size = req.number("size", 1, MAX_SIZE)?.or(page.map(|_| DEFAULT_SIZE));
        let number = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        let (page, size) = (number(page.unwrap_or(1)), size.map(number));
        let all: Vec<&T> = rows.collect();
        let total_count = all.len();
        let total_pages = size.map_or(1, |size| total_count.div_ceil(size).max(1));
        let page_of = Page { total_count, current_page: page, size, total_pages };
        let rows = match size {
            None => all,
            Some(size) => all.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect(),
        };
        Ok((rows, page_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::admin::request::tests::test_request;

    #[test]
    fn pages() {
        let all: Vec<i32> = (0..120).collect();
        let page = |query: &str| {
            let (rows, page) = Page::of(&test_request(query, None), all.iter()).unwrap();
            (rows.first().map(|n| **n), rows.len(), page.total_pages)
        };
        assert_eq!(page(""), (Some(0), 120, 1));
        assert_eq!(page("size=50"), (Some(0), 50, 3));
        assert_eq!(page("page=3"), (Some(100), 20, 3));
        assert_eq!(page("page=4&size=50"), (None, 0, 3));
        assert_eq!(page("page=4294967295&size=1000"), (None, 0, 1));
        for bad in ["page=0", "size=0", "size=1001", "page=x", "page=-1"] {
            assert!(Page::of(&test_request(bad, None), all.iter()).is_err(), "{bad}");
        }
    }
}
