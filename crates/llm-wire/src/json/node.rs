//! What a tape notes of one value.

/// One member, one element, or the document itself.
///
/// Positions count from the first byte of the value that contains it (of the document itself: from
/// where the bytes begin), so that a value can be read without knowing where it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Node {
    /// Where the key begins and ends, quotes included. Both are 0 for what has no key.
    pub(super) key: (u32, u32),
    /// Where the value begins and ends.
    pub(super) value: (u32, u32),
    /// How many nodes that follow stand inside this one. While it is open: the number of the node
    /// around it.
    pub(super) inside: u32,
}

impl Node {
    /// Returns whether the key of a member of `object` can be `name`: it is not shorter, and begins
    /// with the same byte or with an escape.
    #[inline]
    pub(super) fn may_be_named(&self, name: &str, object: &[u8]) -> bool {
        let first = object.get(self.key.0 as usize + 1);
        (self.key.1 - self.key.0) as usize >= name.len() + 2
            && (first == name.as_bytes().first() || first == Some(&b'\\') || name.is_empty())
    }

    /// Returns where the value begins and ends.
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.value.0 as usize..self.value.1 as usize
    }
}

/// Takes the node that is first and what is inside it.
#[inline]
pub(super) fn split_first<'a>(nodes: &mut &'a [Node]) -> Option<(Node, &'a [Node])> {
    let (&node, rest) = nodes.split_first()?;
    let (inside, rest) = rest.split_at(node.inside as usize);
    *nodes = rest;
    Some((node, inside))
}
