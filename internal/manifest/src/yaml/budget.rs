//! Bounds on what a document may cost.

/// How large a document may be, before and after its aliases are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of the text.
    pub text_bytes: usize,
    /// Values in the tree, every use of an alias counted with all it stands for.
    pub nodes: usize,
    /// Bytes of all scalars and keys in the tree, counted the same way.
    pub scalar_bytes: usize,
    /// Maps and lists inside each other.
    pub depth: usize,
}

impl Default for Budget {
    /// 1 MiB of text, 200,000 values, 8 MiB of scalars, 64 levels: some fifty times the largest real file seen, and still read in
    /// a fraction of a second.
    fn default() -> Self {
        Budget { text_bytes: 1 << 20, nodes: 200_000, scalar_bytes: 8 << 20, depth: 64 }
    }
}
