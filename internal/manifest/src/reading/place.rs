//! Places in the tree.

use crate::{Entry, Node, Position, Scalar, Value};

/// A value and its dotted path.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    /// The dotted path, `services.web.ports[0]`.
    pub(crate) path: String,
    /// The value.
    pub(crate) node: &'a Node,
    /// Where the remark points: the key of a mapping's value, else the value.
    at: &'a Position,
}

/// A place kept for checks made later.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    path: String,
    at: Position,
}

/// What has a path and a position.
pub(crate) trait Place {
    /// The dotted path.
    fn path(&self) -> &str;
    /// Where.
    fn at(&self) -> &Position;
}

impl Place for Field<'_> {
    fn path(&self) -> &str {
        &self.path
    }
    fn at(&self) -> &Position {
        self.at
    }
}

impl Place for Spot {
    fn path(&self) -> &str {
        &self.path
    }
    fn at(&self) -> &Position {
        &self.at
    }
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(crate) fn root(node: &'a Node) -> Self {
        Field { path: String::new(), node, at: &node.at }
    }

    /// The value of one key.
    pub(crate) fn child(&self, entry: &'a Entry) -> Field<'a> {
        let path = if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.path, entry.key) };
        Field { path, node: &entry.value, at: &entry.at }
    }

    /// One item of a list.
    pub(crate) fn item(&self, index: usize, node: &'a Node) -> Field<'a> {
        Field { path: format!("{}[{index}]", self.path), node, at: &node.at }
    }

    /// The place alone.
    pub(crate) fn spot(&self) -> Spot {
        Spot { path: self.path.clone(), at: self.at.clone() }
    }

    /// The scalar here.
    pub(crate) fn scalar(&self) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether nothing is written here.
    pub(crate) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    /// Whether what is written means the same as leaving the key out: nothing, an empty text, list or map, or `false`.
    pub(crate) fn is_off(&self) -> bool {
        match &self.node.value {
            Value::Scalar(scalar) => {
                self.is_null() || scalar.text.is_empty() || scalar.text.eq_ignore_ascii_case("false")
            }
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }
}
