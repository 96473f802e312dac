//! What a stored manifest shows to a caller from elsewhere: everything but the values that may be secret.
//!
//! Hidden are values that came from an environment file, as the sender's marks say, and those whose key is one that secrets usually have.

use std::collections::HashSet;

use jaco_manifest::diff::is_secret_name;
use jaco_manifest::yaml::{Budget, emit, load};
use jaco_manifest::{Node, Value};

/// What stands in the place of a value.
const HIDDEN: &str = "(hidden)";
/// Key of a sent text that lists the values from environment files, as JSON pointers.
const MARKS: &str = "x-jaco-interpolated";

/// The compose text without what may be secret; nothing of a text that cannot be read.
pub(crate) fn compose(text: &str) -> String {
    let Ok(mut document) = load("compose.yaml", text.as_bytes(), Budget::default()) else {
        return format!("# {HIDDEN}\n");
    };
    let marks = document.get(MARKS).and_then(Node::as_list).unwrap_or_default();
    let marks: HashSet<String> = marks.iter().filter_map(Node::as_str).map(str::to_owned).collect();
    hide(&mut document, &mut String::new(), &marks);
    emit(&document)
}

fn hide(node: &mut Node, pointer: &mut String, marks: &HashSet<String>) {
    let marked = marks.contains(pointer.as_str());
    match &mut node.value {
        Value::Scalar(scalar) => match scalar.text.split_once('=') {
            _ if marked => HIDDEN.clone_into(&mut scalar.text),
            // The list form of a map: `NAME=value`.
            Some((name, _)) if is_secret_name(name) => scalar.text = format!("{name}={HIDDEN}"),
            Some(_) | None => {}
        },
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                descend(pointer, &index.to_string(), |pointer| hide(item, pointer, marks));
            }
        }
        Value::Map(entries) => {
            for entry in entries.iter_mut().filter(|entry| entry.key != MARKS) {
                let segment = entry.key.replace('~', "~0").replace('/', "~1");
                match &mut entry.value.value {
                    Value::Scalar(scalar) if is_secret_name(&entry.key) => HIDDEN.clone_into(&mut scalar.text),
                    Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                        descend(pointer, &segment, |pointer| hide(&mut entry.value, pointer, marks));
                    }
                }
            }
        }
    }
}

fn descend(pointer: &mut String, segment: &str, act: impl FnOnce(&mut String)) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(segment);
    act(pointer);
    pointer.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let text = "services:\n  web:\n    image: web:1\n    environment:\n      LEVEL: info\n      DB_PASSWORD: hunter2\n      FROM_FILE: sesame\n    command: [run, \"--with=open\", \"API_TOKEN=hunter3\", \"abra\"]\n    labels: [\"note=x\"]\nx-jaco-interpolated:\n  - /services/web/environment/FROM_FILE\n  - /services/web/command/3\n";
        let shown = compose(text);
        for secret in ["hunter2", "hunter3", "sesame", "abra"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in ["web:1", "LEVEL: info", "--with=open", "note=x", "API_TOKEN=(hidden)", "/services/web/command/3"] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
        assert!(!compose("services: [hunter2").contains("hunter2"));
    }
}
