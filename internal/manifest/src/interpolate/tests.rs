use std::time::Duration;

use super::*;
use crate::yaml::{Budget, load};

fn variables() -> Variables {
    let pairs = [("SET", "value"), ("EMPTY", ""), ("_u1", "under"), ("DOLLAR", "a$b"), ("NUMBER", "8080")];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn expand(text: &str) -> Result<Expanded, Problem> {
    let variables = variables();
    Template::parse(text)?.expand(&|name| variables.get(name).cloned(), EXPANSION_BYTES)
}

#[test]
fn every_form() {
    let table = [
        ("$SET", "value"),
        ("${SET}", "value"),
        ("$SET-x", "value-x"),
        ("$SET.tar", "value.tar"),
        ("a${SET}b", "avalueb"),
        ("$_u1", "under"),
        ("$UNSET", ""),
        ("${UNSET}", ""),
        ("${SET:-d}", "value"),
        ("${EMPTY:-d}", "d"),
        ("${UNSET:-d}", "d"),
        ("${SET-d}", "value"),
        ("${EMPTY-d}", ""),
        ("${UNSET-d}", "d"),
        ("${UNSET:-}", ""),
        ("${UNSET-}", ""),
        ("${SET:?m}", "value"),
        ("${SET?m}", "value"),
        ("${EMPTY?m}", ""),
        ("${SET:+a}", "a"),
        ("${EMPTY:+a}", ""),
        ("${UNSET:+a}", ""),
        ("${SET+a}", "a"),
        ("${EMPTY+a}", "a"),
        ("${UNSET+a}", ""),
        // Nested words, and only the branch that is used.
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-$SET}", "value"),
        ("${UNSET:-${EMPTY:-${UNSET:-deep}}}", "deep"),
        ("${UNSET:-a${SET}b${SET}c}", "avaluebvaluec"),
        ("${SET:+${NUMBER}}", "8080"),
        ("${SET:-${UNSET:?never looked at}}", "value"),
        ("${UNSET:-:-x}", ":-x"),
        ("${UNSET:-http://h:80/p?q}", "http://h:80/p?q"),
        // Plain braces nest.
        (r"${UNSET:-^(\d{4})$}", r"^(\d{4})$"),
        ("${UNSET:-{}}", "{}"),
        (r#"${UNSET:-{"a": {"b": 1}}}"#, r#"{"a": {"b": 1}}"#),
        ("${UNSET:-{{.Name}}}-x", "{{.Name}}-x"),
        ("{{ $SET }}", "{{ value }}"),
        ("}{", "}{"),
        // Dollar signs that stay.
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("$$$SET", "$value"),
        ("$$$$", "$$"),
        ("$(cmd)", "$(cmd)"),
        ("$2a$14$abc", "$2a$14"),
        ("cost: 5$", "cost: 5$"),
        ("$", "$"),
        ("$ x", "$ x"),
        ("$é", "$é"),
        ("^a$|^b$", "^a$|^b$"),
        ("${UNSET:-$$}", "$"),
        // A value is not expanded again.
        ("$DOLLAR", "a$b"),
        ("", ""),
        ("ünï $SET", "ünï value"),
    ];
    for (text, expected) in table {
        assert_eq!(expand(text).map(|expanded| expanded.text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn mistakes() {
    let table = [
        ("${", "name"),
        ("${}", "name"),
        ("${1}", "name"),
        ("${ SET}", "name"),
        ("${! metadata}", "name"),
        ("${SET", "not closed"),
        ("${SET:", "after the name"),
        ("${SET:-", "not closed"),
        ("${SET:-{}", "not closed"),
        ("${SET:-${X}", "not closed"),
        ("${SET:/path}", "after the name"),
        ("${SET/a/b}", "after the name"),
        ("${SET }", "after the name"),
        ("${A.B}", "after the name"),
    ];
    for (text, expected) in table {
        let problem = expand(text).unwrap_err();
        assert!(
            matches!(problem, Problem::Syntax { .. }) && problem.to_string().contains(expected),
            "{text}: {problem}"
        );
    }
    let message = |text: &str| expand(text).unwrap_err().to_string();
    assert_eq!(message("${UNSET:?set it}"), "the variable `UNSET` is required: set it");
    assert_eq!(message("${EMPTY:?see $SET}"), "the variable `EMPTY` is required: see value");
    assert_eq!(message("${UNSET?}"), "the variable `UNSET` is required");
    assert!(message(&"${A:-".repeat(100)).contains("too deep"));
}

#[test]
fn what_is_known_of_a_result() {
    let expanded = expand("$A ${B:-x} $A $SET").unwrap();
    assert_eq!((expanded.unset, expanded.touched, expanded.from_variable), (vec!["A".to_owned()], true, true));
    let expanded = expand("${UNSET:-d}").unwrap();
    assert!(expanded.touched && !expanded.from_variable && expanded.unset.is_empty());
    let expanded = expand("$$ $(x)").unwrap();
    assert!(!expanded.touched && !expanded.from_variable);
}

fn document(text: &str) -> (Node, Vec<Diagnostic>) {
    let mut node = load("compose.yml", text.as_bytes(), Budget::default()).unwrap();
    let mut diagnostics = Diagnostics::default();
    Interpolator::default().apply(&mut node, &variables(), &mut diagnostics);
    (node, diagnostics.into_vec())
}

#[test]
fn values_and_never_keys() {
    let (node, diagnostics) =
        document("$SET: ${SET}\nlist: [$NUMBER, {$SET: $$}]\nb: ${EMPTY}\nc: ${UNSET:-true}\nd: 1\n");
    assert!(diagnostics.is_empty());
    assert_eq!(node.entries()[0].key, "$SET");
    assert_eq!(node.entries()[0].value.as_str(), Some("value"));
    let list = node.get("list").unwrap().as_list().unwrap();
    assert_eq!(list[0].as_i64(), Some(8080));
    assert_eq!(list[1].get("$SET").unwrap().as_str(), Some("$"));
    let scalar = |key: &str| node.get(key).unwrap().as_scalar().unwrap();
    assert!(list[0].as_scalar().unwrap().interpolated && !scalar("c").interpolated && !scalar("d").interpolated);
    assert!(!node.get("b").unwrap().is_null(), "an empty variable is a string, not null");
    assert_eq!(node.get("c").unwrap().as_bool(), Some(true));
}

#[test]
fn one_warning_for_each_unset_variable() {
    let (_, diagnostics) = document("services:\n  a: [$X, $X]\n  b: $Y\n  c: ${X}\n");
    let shown: Vec<_> =
        diagnostics.iter().map(|d| (d.severity, d.at.as_ref().unwrap().line, d.field.clone().unwrap())).collect();
    let warning = |line, field: &str| (Severity::Warning, line, field.to_owned());
    assert_eq!(shown, [warning(2, "services.a[0]"), warning(3, "services.b")]);
    assert_eq!(diagnostics[0].details["variable"], "X");
}

#[test]
fn errors_have_a_place() {
    let (_, diagnostics) = document("services:\n  web:\n    image: ${TAG:?give a tag}\n    command: ${x\n");
    let shown: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "compose.yml:3:12: services.web.image: the variable `TAG` is required: give a tag");
    assert!(
        shown[1].starts_with("compose.yml:4:14: services.web.command: `${` is not closed in `${x`"),
        "{}",
        shown[1]
    );
    assert_eq!(diagnostics[0].service.as_deref(), Some("web"));
}

#[test]
fn a_short_text_cannot_become_a_huge_one() {
    let mut variables = Variables::new();
    variables.insert("A".to_owned(), "x".repeat(1 << 20));
    let mut node = load("x", format!("a: {}", "$A".repeat(200_000)).as_bytes(), Budget::default()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let begin = crate::effort::Effort::begin();
    Interpolator::default().apply(&mut node, &variables, &mut diagnostics);
    assert_eq!(diagnostics.into_vec()[0].code, ErrorCode::RequestTooLarge);
    assert!(begin.spent() < Duration::from_secs(2));
}

#[test]
fn long_texts_are_read_in_linear_time() {
    for unit in ["{", "}", "$", "${A:-", "${A:-{", "${A}", "$A", "${UNSET:-x}"] {
        let text = unit.repeat((1 << 20) / unit.len());
        let begin = crate::effort::Effort::begin();
        let _result = expand(&text);
        assert!(begin.spent() < Duration::from_secs(5), "{unit}: {:?}", begin.spent());
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            let _result = expand(&text);
        }

        #[test]
        fn never_panics_on_braces_and_dollars(text in "[$A{}:?+ \\-é_1]{0,60}") {
            let _result = expand(&text);
        }

        #[test]
        fn a_doubled_dollar_protects_any_text(text in any::<String>()) {
            prop_assert_eq!(expand(&text.replace('$', "$$")).unwrap().text, text);
        }

        #[test]
        fn a_text_without_dollar_is_unchanged(text in "[^$]{0,40}") {
            prop_assert_eq!(expand(&text).unwrap().text, text);
        }
    }
}

#[test]
fn a_file_full_of_mistakes_is_told_in_part() {
    let text = format!("a:\n{}", "- ${\n".repeat(50_000));
    let mut node = load("x", text.as_bytes(), Budget::default()).unwrap();
    let mut diagnostics = Diagnostics::default();
    Interpolator::default().apply(&mut node, &Variables::new(), &mut diagnostics);
    assert_eq!(diagnostics.iter().count(), 1_000);
    assert!(diagnostics.has_errors());
}
