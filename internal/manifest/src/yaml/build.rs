//! The tree under construction: anchors, merge keys, duplicate keys, and the budget.

use std::collections::HashMap;
use std::sync::Arc;

use jaco_types::ErrorCode;
use saphyr_parser::Tag;

use super::budget::Budget;
use super::node::{Entry, MergeTag, Node, Position, Scalar, Value};
use crate::diagnostic::{Diagnostic, MAX_PROBLEMS, Severity};

/// Where an event stands and what is attached to it.
pub(super) struct Tagged<'a> {
    /// Its begin.
    pub(super) at: Position,
    /// The parser's number of its anchor; 0 for none.
    pub(super) anchor: usize,
    /// Its tag.
    pub(super) tag: Option<&'a Tag>,
}

/// What a tag asks for.
enum Meaning {
    Merge(MergeTag),
    /// The text is a string, however it looks.
    Text,
    /// The text has the type it looks like, although it is quoted.
    Typed,
    Nothing,
}

struct Frame {
    at: Position,
    anchor: usize,
    tag: MergeTag,
    content: Content,
    /// The tree's size when the collection began.
    start: Size,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<MapEntry>, key: Option<Key> },
}

/// A key whose value comes next. `merge` is an unquoted `<<`.
struct Key {
    text: String,
    at: Position,
    merge: bool,
}

struct MapEntry {
    entry: Entry,
    merge: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

struct Anchored {
    node: Node,
    size: Size,
    plain: bool,
}

pub(super) struct Builder {
    file: Arc<str>,
    budget: Budget,
    frames: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    size: Size,
    /// Copies kept for aliases to come; they count against the same budget.
    kept: Size,
    problems: Vec<Diagnostic>,
}

impl Builder {
    pub(super) fn new(file: Arc<str>, budget: Budget) -> Builder {
        Builder {
            file,
            budget,
            frames: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            size: Size::default(),
            kept: Size::default(),
            problems: Vec::new(),
        }
    }

    pub(super) fn position(&self, line: usize, column: usize) -> Position {
        Position { file: Arc::clone(&self.file), line, column }
    }

    pub(super) fn finish(self) -> Result<Node, Vec<Diagnostic>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let start = self.position(1, 1);
        Ok(self.root.unwrap_or_else(|| Node::null(&start)))
    }

    pub(super) fn alias(&mut self, anchor: usize, at: &Position) -> Result<(), Box<Diagnostic>> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside the value that it names, which would never end";
            return Err(refused(message, at));
        };
        let depth = self.frames.len() + depth_of(&anchored.node, self.budget.depth);
        let (size, plain) = (anchored.size, anchored.plain);
        if depth > self.budget.depth {
            return Err(self.too_deep(at));
        }
        self.charge(size, at)?;
        // Cloned only now: an alias over the budget costs nothing.
        let Some(node) = self.anchors.get(&anchor).map(|anchored| anchored.node.clone()) else { return Ok(()) };
        self.value(node, plain)
    }

    pub(super) fn scalar(&mut self, text: String, plain: bool, tagged: Tagged<'_>) -> Result<(), Box<Diagnostic>> {
        self.charge(Size { nodes: 1, bytes: text.len() }, &tagged.at)?;
        let (plain, tag) = match self.meaning(&tagged) {
            Meaning::Merge(tag) => (plain, tag),
            Meaning::Text => (false, MergeTag::None),
            Meaning::Typed => (true, MergeTag::None),
            Meaning::Nothing => (plain, MergeTag::None),
        };
        let size = Size { nodes: 1, bytes: text.len() };
        let scalar = Scalar { text, plain, interpolated: false };
        let node = Node { value: Value::Scalar(scalar), at: tagged.at, tag };
        self.keep(tagged.anchor, &node, size, plain)?;
        self.value(node, plain)
    }

    pub(super) fn open(&mut self, map: bool, tagged: Tagged<'_>) -> Result<(), Box<Diagnostic>> {
        if self.frames.len() >= self.budget.depth {
            return Err(self.too_deep(&tagged.at));
        }
        let start = self.size;
        self.charge(Size { nodes: 1, bytes: 0 }, &tagged.at)?;
        let tag = match self.meaning(&tagged) {
            Meaning::Merge(tag) => tag,
            Meaning::Text | Meaning::Typed | Meaning::Nothing => MergeTag::None,
        };
        let content = if map { Content::Map { entries: Vec::new(), key: None } } else { Content::List(Vec::new()) };
        self.frames.push(Frame { at: tagged.at, anchor: tagged.anchor, tag, content, start });
        Ok(())
    }

    pub(super) fn close(&mut self) -> Result<(), Box<Diagnostic>> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(self.close_map(entries)),
        };
        let size = Size { nodes: self.size.nodes - frame.start.nodes, bytes: self.size.bytes - frame.start.bytes };
        let node = Node { value, at: frame.at, tag: frame.tag };
        self.keep(frame.anchor, &node, size, false)?;
        self.value(node, false)
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node, plain: bool) -> Result<(), Box<Diagnostic>> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                Some(Key { text, at, merge }) => {
                    entries.push(MapEntry { entry: Entry { key: text, at, value: node }, merge });
                }
                None => {
                    let Value::Scalar(scalar) = node.value else {
                        let message = "a key must be a string, not a list or a map";
                        return Err(refused(message, &node.at));
                    };
                    if scalar.is_null() {
                        let message = "a key is missing before the `:`";
                        return Err(refused(message, &node.at));
                    }
                    *key = Some(Key { merge: plain && scalar.text == "<<", text: scalar.text, at: node.at });
                }
            },
        }
        Ok(())
    }

    fn keep(&mut self, anchor: usize, node: &Node, size: Size, plain: bool) -> Result<(), Box<Diagnostic>> {
        if anchor == 0 {
            return Ok(());
        }
        self.kept.nodes += size.nodes;
        self.kept.bytes += size.bytes;
        self.check_budget(&node.at)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), size, plain });
        Ok(())
    }

    fn charge(&mut self, size: Size, at: &Position) -> Result<(), Box<Diagnostic>> {
        self.size.nodes += size.nodes;
        self.size.bytes += size.bytes;
        self.check_budget(at)
    }

    fn check_budget(&self, at: &Position) -> Result<(), Box<Diagnostic>> {
        let (what, limit) = if self.size.nodes + self.kept.nodes > self.budget.nodes {
            ("values", self.budget.nodes)
        } else if self.size.bytes + self.kept.bytes > self.budget.scalar_bytes {
            ("bytes of text", self.budget.scalar_bytes)
        } else {
            return Ok(());
        };
        let message = format!("the document has more than {limit} {what} once its aliases are expanded");
        Err(too_large(message, limit, at))
    }

    fn too_deep(&self, at: &Position) -> Box<Diagnostic> {
        let limit = self.budget.depth;
        too_large(format!("maps and lists stand more than {limit} deep in each other"), limit, at)
    }

    /// Dotted path of the place where the next value goes.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match &frame.content {
                Content::List(items) => path.push_str(&format!("[{}]", items.len())),
                Content::Map { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key.text);
                }
                Content::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn invalid(&mut self, message: String, at: &Position, field: &str) {
        let mut diagnostic = Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message).at(at);
        if !field.is_empty() {
            diagnostic = diagnostic.field(field);
        }
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(diagnostic);
        }
    }

    /// Finds duplicate keys and resolves `<<`: explicit keys win over merged ones, earlier merged maps over later ones.
    fn close_map(&mut self, entries: Vec<MapEntry>) -> Vec<Entry> {
        let mut seen: HashMap<String, Position> = HashMap::with_capacity(entries.len());
        for MapEntry { entry, .. } in &entries {
            if let Some(first) = seen.get(&entry.key) {
                // The path of each costs as much as all keys above it.
                if self.problems.len() >= MAX_PROBLEMS {
                    break;
                }
                let path = self.path();
                let field = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                let hint = if entry.key == "<<" { "; several maps are merged with `<<: [*a, *b]`" } else { "" };
                let first = format!("{}:{}", first.line, first.column);
                let message = format!("the key {} is already there, at {first}{hint}", super::quote(&entry.key));
                self.invalid(message, &entry.at, &field);
            } else {
                seen.insert(entry.key.clone(), entry.at.clone());
            }
        }
        if !entries.iter().any(|entry| entry.merge) {
            return entries.into_iter().map(|entry| entry.entry).collect();
        }
        let mut result = Vec::with_capacity(entries.len());
        for MapEntry { entry, merge } in entries {
            if !merge {
                result.push(entry);
                continue;
            }
            for source in self.merge_sources(entry) {
                if !seen.contains_key(&source.key) {
                    seen.insert(source.key.clone(), source.at.clone());
                    result.push(source);
                }
            }
        }
        result
    }

    /// The entries that the value of a `<<` brings in.
    fn merge_sources(&mut self, merge: Entry) -> Vec<Entry> {
        let path = self.path();
        let field = if path.is_empty() { "<<".to_owned() } else { format!("{path}.<<") };
        match merge.value.value {
            Value::Map(entries) => entries,
            Value::List(items) => {
                let mut all = Vec::new();
                for item in items {
                    match item.value {
                        Value::Map(entries) => all.extend(entries),
                        Value::Scalar(_) | Value::List(_) => {
                            let message = format!("`<<` merges maps, and this is {}", item.kind());
                            self.invalid(message, &item.at, &field);
                        }
                    }
                }
                all
            }
            Value::Scalar(_) => {
                let message = format!("`<<` needs a map or a list of maps, not {}", merge.value.kind());
                self.invalid(message, &merge.value.at, &field);
                Vec::new()
            }
        }
    }

    fn meaning(&mut self, tagged: &Tagged<'_>) -> Meaning {
        let Some(tag) = tagged.tag else { return Meaning::Nothing };
        if tag.is_yaml_core_schema() {
            match tag.suffix.as_str() {
                "str" => return Meaning::Text,
                "null" | "bool" | "int" | "float" => return Meaning::Typed,
                "map" | "seq" | "merge" => return Meaning::Nothing,
                _ => {}
            }
        }
        let text = format!("{}{}", tag.handle, tag.suffix);
        match text.as_str() {
            "!" => Meaning::Text,
            "!reset" => Meaning::Merge(MergeTag::Reset),
            "!override" => Meaning::Merge(MergeTag::Override),
            _ => {
                let message = format!("the tag {} has no meaning in a manifest; remove it", super::quote(&text));
                let path = self.path();
                self.invalid(message, &tagged.at, &path);
                Meaning::Nothing
            }
        }
    }
}

fn refused(message: &str, at: &Position) -> Box<Diagnostic> {
    Box::new(Diagnostic::new(Severity::Error, ErrorCode::ParseFailed, message).at(at))
}

fn too_large(message: String, limit: usize, at: &Position) -> Box<Diagnostic> {
    let mut diagnostic = Diagnostic::new(Severity::Error, ErrorCode::RequestTooLarge, message).at(at);
    diagnostic.details.insert("limit".to_owned(), limit.to_string());
    Box::new(diagnostic)
}

/// Levels of maps and lists in a value, counted up to `limit`, which no kept value exceeds.
fn depth_of(node: &Node, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(|item| depth_of(item, limit - 1)).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| depth_of(&entry.value, limit - 1)).max().unwrap_or(0),
    }
}
