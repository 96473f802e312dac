//! YAML 1.2 text to a tree of [`Node`]s that know their place, and back.
//!
//! Invariants: a loaded tree has unique keys in every map, no aliases and no merge keys left, and is never deeper or larger than
//! the [`Budget`]; scalars keep their text, so that a field decides about its type and not the parser; [`emit`] writes text that
//! [`load`] reads back to the same values.

mod budget;
mod build;
mod emit;
mod load;
mod node;
mod scalar;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use emit::{emit, same};
pub use load::load;
pub use node::{Entry, MergeTag, Node, Position, Scalar, Value};
pub use scalar::quote;
