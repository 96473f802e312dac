use std::time::Duration;

use jaco_types::ErrorCode;

use super::*;

fn read(text: &str) -> Node {
    load("compose.yml", text.as_bytes(), Budget::default()).unwrap_or_else(|problems| panic!("{text:?}: {problems:?}"))
}

fn refused(text: &[u8]) -> (ErrorCode, String) {
    match load("compose.yml", text, Budget::default()) {
        Ok(node) => panic!("accepted {:?} as {node:?}", String::from_utf8_lossy(text)),
        Err(problems) => (problems[0].code, problems[0].to_string()),
    }
}

/// A short form for expectations: strings in quotes, typed scalars bare.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => "null".to_owned(),
        Value::Scalar(scalar) if scalar.plain && node.kind() != "a string" => scalar.text.clone(),
        Value::Scalar(scalar) => format!("{:?}", scalar.text),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<_> = entries.iter().map(|e| format!("{}: {}", e.key, show(&e.value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[test]
fn yaml_1_2_scalars() {
    let table = [
        ("a: yes", r#"{a: "yes"}"#),
        ("a: no", r#"{a: "no"}"#),
        ("on: off", r#"{on: "off"}"#),
        ("a: 25:25", r#"{a: "25:25"}"#),
        ("- 2222:22", r#"["2222:22"]"#),
        ("a: 012", "{a: 012}"),
        ("a: 0o17", "{a: 0o17}"),
        ("a: 0x1F", "{a: 0x1F}"),
        ("a: 1.10", "{a: 1.10}"),
        ("a: 1e3", "{a: 1e3}"),
        ("a: .5", "{a: .5}"),
        ("a: 1_000", r#"{a: "1_000"}"#),
        ("a: 2024-01-01", r#"{a: "2024-01-01"}"#),
        ("a: True", "{a: True}"),
        ("a: ~", "{a: null}"),
        ("a:", "{a: null}"),
        ("a: ''", r#"{a: ""}"#),
        ("a: '~'", r#"{a: "~"}"#),
        ("a: \"x\\ y\"", r#"{a: "x y"}"#),
        ("a: 'it''s'", r#"{a: "it's"}"#),
        ("1: x", r#"{1: "x"}"#),
        ("true: x", r#"{true: "x"}"#),
        ("a: !!str 12", r#"{a: "12"}"#),
        ("a: !!str", r#"{a: ""}"#),
        ("a: ! 12", r#"{a: "12"}"#),
        ("a: !!int '12'", "{a: 12}"),
        ("a: |\n  one\n  two\n", r#"{a: "one\ntwo\n"}"#),
        ("a: |-\n  one\n  two\n", r#"{a: "one\ntwo"}"#),
        ("a: |+\n  one\n\nb: 1", r#"{a: "one\n\n", b: 1}"#),
        ("a: >\n  one\n  two\n\n  three\n", r#"{a: "one two\nthree\n"}"#),
        ("a: >-\n  one\n  two\n", r#"{a: "one two"}"#),
        ("a: one\n  two", r#"{a: "one two"}"#),
        ("a: {b: [1, 'x', ]}", r#"{a: {b: [1, "x"]}}"#),
        ("a: http://x:80/y#z # comment", r#"{a: "http://x:80/y#z"}"#),
        ("\u{FEFF}a: 1", "{a: 1}"),
        ("a: 1\r\nb: 2\r\n", "{a: 1, b: 2}"),
        ("---\na: 1\n...\n", "{a: 1}"),
        ("%YAML 1.2\n---\na: 1", "{a: 1}"),
        ("a:\n- 1\n- 2", "{a: [1, 2]}"),
        ("? a\n: b", r#"{a: "b"}"#),
        ("", "null"),
        ("# only a comment\n", "null"),
    ];
    for (text, expected) in table {
        assert_eq!(show(&read(text)), expected, "{text:?}");
    }
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let table = [
        ("a: &x 1\nb: *x", "{a: 1, b: 1}"),
        ("a: &x [1, 2]\nb: *x", "{a: [1, 2], b: [1, 2]}"),
        ("a: &x {p: 1}\nb: {<<: *x, q: 2}", "{a: {p: 1}, b: {p: 1, q: 2}}"),
        ("a: &x {p: 1}\nb: {p: 3, <<: *x}", "{a: {p: 1}, b: {p: 3}}"),
        ("a: &x {p: 1}\nb: {<<: *x, p: 3}", "{a: {p: 1}, b: {p: 3}}"),
        ("a: &x {p: 1, q: 1}\nb: &y {q: 2}\nc: {<<: [*x, *y]}", "{a: {p: 1, q: 1}, b: {q: 2}, c: {p: 1, q: 1}}"),
        ("a: {<<: {p: 1}}", "{a: {p: 1}}"),
        ("a: {'<<': 1}", "{a: {<<: 1}}"),
        ("a: &x {p: {q: 1}}\nb: {<<: *x, p: {r: 2}}", "{a: {p: {q: 1}}, b: {p: {r: 2}}}"),
        ("a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: *y}", "{a: {p: 1}, b: {p: 1, q: 2}, c: {p: 1, q: 2}}"),
        ("a: &x b\n*x : c", r#"{a: "b", b: "c"}"#),
        ("a: &x 1\nb: &x 2\nc: *x", "{a: 1, b: 2, c: 2}"),
        ("a: &x\nb: *x", "{a: null, b: null}"),
    ];
    for (text, expected) in table {
        assert_eq!(show(&read(text)), expected, "{text:?}");
    }
}

#[test]
fn brackets_may_stand_left_of_where_yaml_wants_them() {
    let table = [
        ("a: [\n  1,\n]", "{a: [1]}"),
        ("s:\n  a: [\n    1,\n    2\n  ]\n  b: {\n    c: d\n  }\n", r#"{s: {a: [1, 2], b: {c: "d"}}}"#),
        ("s:\n        a: [\n1,\n 'x y', {\n}\n]\n        b: 1", r#"{s: {a: [1, "x y", {}], b: 1}}"#),
        ("- [\r\n1\r\n]\r\n- |\n ]\n", r#"[[1], "]\n"]"#),
        ("ä:\n  ö: [ü,\né\n]", r#"{ä: {ö: ["ü", "é"]}}"#),
    ];
    for (text, expected) in table {
        assert_eq!(show(&read(text)), expected, "{text:?}");
    }
    let node = read("a: [\nx, y\n]\nb: c");
    let items = node.get("a").unwrap().as_list().unwrap();
    assert_eq!((items[1].at.line, items[1].at.column, node.get("b").unwrap().at.line), (2, 4, 4));
    let many: String = (0..100).map(|i| format!("k{i}: [\n{i}\n]\n")).collect();
    assert_eq!(read(&many).entries().len(), 100);
    assert_eq!(refused(b"a: [\n]]").0, ErrorCode::ParseFailed);
}

#[test]
fn refusals_name_the_place() {
    let table: [(&[u8], ErrorCode, &str); 20] = [
        (b"a: 1\na: 2", ErrorCode::ValidationFailed, "compose.yml:2:1: a: the key `a` is already there, at 1:1"),
        (
            b"a:\n  b: 1\n  b: 2",
            ErrorCode::ValidationFailed,
            "compose.yml:3:3: a.b: the key `b` is already there, at 2:3",
        ),
        (b"a: &x {p: 1}\nb: {<<: *x, <<: *x}", ErrorCode::ValidationFailed, "<<: [*a, *b]"),
        (b"a: {<<: 1}", ErrorCode::ValidationFailed, "`<<` needs a map"),
        (b"a: {<<: [1]}", ErrorCode::ValidationFailed, "`<<` merges maps"),
        (b"a: !foo 1", ErrorCode::ValidationFailed, "the tag `!foo` has no meaning"),
        (b"a: *nope", ErrorCode::ParseFailed, "compose.yml:1:4"),
        (b"a: &x [*x]", ErrorCode::ParseFailed, "compose.yml:1:8"),
        (b"a: [1, 2", ErrorCode::ParseFailed, "compose.yml:"),
        (b"a: b: c", ErrorCode::ParseFailed, "compose.yml:1:"),
        (b"a: 'x", ErrorCode::ParseFailed, "compose.yml:1:4"),
        (b"a:\n\t- b", ErrorCode::ParseFailed, "compose.yml:2:"),
        (b"a: 1\n---\nb: 2", ErrorCode::ParseFailed, "compose.yml:2:1: a second YAML document"),
        (b"a: \xff", ErrorCode::ParseFailed, "compose.yml:1:4: the file is not UTF-8 text"),
        (b"\xff\xfea\0", ErrorCode::ParseFailed, "compose.yml:1:1: the file is not UTF-8 text"),
        (b"a: 1\nb: x\0y", ErrorCode::ParseFailed, "compose.yml:2:5: the character U+0000"),
        (b"[a]: 1", ErrorCode::ParseFailed, "a key must be a string"),
        (b": 1", ErrorCode::ParseFailed, "a key is missing"),
        (b"\x7fELF\x02", ErrorCode::ParseFailed, "compose.yml:1:1"),
        (b"a: \"\\q\"", ErrorCode::ParseFailed, "compose.yml:1:"),
    ];
    for (text, code, expected) in table {
        let (found, message) = refused(text);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(expected), "{:?}: {message}", String::from_utf8_lossy(text));
    }
}

#[test]
fn all_duplicates_are_told() {
    let problems = load("x", b"a: 1\na: 2\nb: {c: 1, c: 2}\nb: 3\n", Budget::default()).unwrap_err();
    assert_eq!(problems.iter().map(|p| p.field.clone().unwrap()).collect::<Vec<_>>(), ["b.c", "a", "b"]);
}

#[test]
fn positions_are_those_of_the_text() {
    let node = read("services:\n  wéb:\n    image: \"x\"\n    ports:\n      - 80\n");
    let web = node.get("services").unwrap().entry("wéb").unwrap();
    assert_eq!((web.at.line, web.at.column), (2, 3));
    let image = web.value.entry("image").unwrap();
    assert_eq!((image.at.line, image.at.column, image.value.at.column), (3, 5, 12));
    let port = &web.value.get("ports").unwrap().as_list().unwrap()[0];
    assert_eq!((port.at.line, port.at.column, &*port.at.file), (5, 9, "compose.yml"));
}

#[test]
fn merge_tags() {
    let node = read("a: !reset null\nb: !override [1]\nc: !reset\nd: !override {x: 1}\n");
    let tags: Vec<_> = node.entries().iter().map(|entry| entry.value.tag).collect();
    assert_eq!(tags, [MergeTag::Reset, MergeTag::Override, MergeTag::Reset, MergeTag::Override]);
}

/// Fills 1 MiB with `unit`.
fn mebibyte(start: &str, unit: &str) -> String {
    let mut text = start.to_owned();
    while text.len() + unit.len() <= 1 << 20 {
        text.push_str(unit);
    }
    text
}

fn alias_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut level = 0;
    while text.len() < (1 << 20) - 200 {
        let aliases = vec![format!("*a{level}"); 9].join(", ");
        level += 1;
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    text
}

#[test]
fn a_mebibyte_of_anything_is_answered_quickly() {
    let inputs = [
        ("nested aliases", alias_bomb()),
        ("one long scalar, many aliases", format!("a: &a {}\nb:\n{}", "x".repeat(1 << 18), "- *a\n".repeat(100_000))),
        ("merge keys", mebibyte("a: &a {b: 1, c: 2, d: 3}\n", "- <<: *a\n")),
        ("flow lists", mebibyte("", "[")),
        ("flow maps", mebibyte("", "{a: ")),
        ("block lists", mebibyte("", "- ")),
        ("explicit keys", mebibyte("", "? ")),
        ("anchors in each other", mebibyte("", "- &a ")),
        ("keys", (0..90_000).map(|i| format!("k{i}: 1\n")).collect()),
        ("the same key", mebibyte("", "a: 1\n")),
        ("quotes", mebibyte("", "\"")),
        ("colons", mebibyte("", ": ")),
        ("commas", mebibyte("[", ",")),
        ("documents", mebibyte("", "---\n")),
        ("percents", mebibyte("", "%")),
        ("block scalars", mebibyte("a: |\n", " \n")),
        ("tags", mebibyte("", "!")),
        ("one word", mebibyte("", "x")),
        ("comments", mebibyte("", "#\n")),
        ("flow keys", mebibyte("{", "a: b, ")),
        ("words in a flow list", mebibyte("[", "a ")),
        ("colons in a flow list", mebibyte("[", "a:")),
        ("open quotes as keys", mebibyte("", "'a': 'b")),
        ("folded words", mebibyte("a: ", "b\n  ")),
        ("outdented brackets", mebibyte("", "a: [\n]\n")),
        ("outdented items", format!("{}a: [\n{}", " ".repeat(1000), "1,\n".repeat(300_000))),
        ("deepening lines", (0..1400).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
    ];
    for (name, text) in inputs {
        let begin = crate::effort::Effort::begin();
        let result = load("x", text.as_bytes(), Budget { text_bytes: 2 << 20, ..Budget::default() });
        let took = begin.spent();
        println!("{name}: {took:?}, {}", result.as_ref().map_or_else(|p| p[0].to_string(), |_| "accepted".to_owned()));
        assert!(took < Duration::from_secs(8), "{name} took {took:?}");
    }
}

#[test]
fn an_alias_bomb_is_refused_in_less_than_a_second() {
    let text = alias_bomb();
    let begin = crate::effort::Effort::begin();
    assert_eq!(refused(text.as_bytes()).0, ErrorCode::RequestTooLarge);
    assert!(begin.spent() < Duration::from_secs(1), "{:?}", begin.spent());
}

#[test]
fn limits() {
    let small = Budget { text_bytes: 100, nodes: 10, scalar_bytes: 20, depth: 3 };
    let code = |text: &str| load("x", text.as_bytes(), small).map_err(|problems| problems[0].code);
    assert!(code("[[[a]]]").is_ok());
    assert_eq!(code("[[[[a]]]]").unwrap_err(), ErrorCode::RequestTooLarge);
    assert_eq!(code("a: &a [[x]]\nb: [*a]").unwrap_err(), ErrorCode::RequestTooLarge);
    assert_eq!(code("[1,2,3,4,5,6,7,8,9,10,11]").unwrap_err(), ErrorCode::RequestTooLarge);
    assert_eq!(code("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap_err(), ErrorCode::RequestTooLarge);
    assert_eq!(code(&"#".repeat(101)).unwrap_err(), ErrorCode::RequestTooLarge);
}

#[test]
fn typed_accessors() {
    let node = read("{i: 42, s: '42', h: 0x1F, f: 1.5, t: true, q: 'true', n: null, l: [1], w: word}");
    let get = |key: &str| node.get(key).unwrap();
    assert_eq!((get("i").as_i64(), get("s").as_i64(), get("h").as_i64()), (Some(42), Some(42), Some(31)));
    assert_eq!((get("f").as_f64(), get("i").as_f64(), get("w").as_f64()), (Some(1.5), Some(42.0), None));
    assert_eq!((get("t").as_bool(), get("q").as_bool(), get("w").as_bool()), (Some(true), Some(true), None));
    assert!(get("n").is_null() && get("n").as_str().is_none());
    assert_eq!(get("w").expect_i64().unwrap_err().message, "must be an integer, not `word`");
    assert_eq!(get("l").expect_str().unwrap_err().message, "must be a string, not a list");
    assert_eq!(get("n").expect_bool().unwrap_err().message, "must be true or false, not null");
    assert_eq!(get("l").expect_map().unwrap_err().message, "must be a map, not a list");
    assert_eq!(get("i").expect_list().unwrap_err().message, "must be a list, not `42`");
}

#[test]
fn emitted_text_is_canonical() {
    let node =
        read("b: [1, {x: y, z: []}, [a, b], ~]\na: {c: 'yes', d: \"l1\\nl2\", e: {}, 'k k': 'a: b', f: '80', g: 80}\n");
    let expected = concat!(
        "b:\n  - 1\n  - x: \"y\"\n    z: []\n  - - a\n    - b\n  - ~\n",
        "a:\n  c: \"yes\"\n  d: \"l1\\nl2\"\n  e: {}\n  \"k k\": \"a: b\"\n  f: \"80\"\n  g: 80\n",
    );
    assert_eq!(emit(&node), expected);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn at() -> Position {
        Position { file: "x".into(), line: 1, column: 1 }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[ -~\n\t]{0,40}",
            "(~|null|true|no|on|<<|=|-|- |a: b|#|\\?|! |&a|\\*a|%|@|`|[0-9]{1,3}:[0-9]{2}|0x1F|1e3|\\.inf| x|x )",
            "[a-z]{121,200}",
        ]
    }

    fn tree() -> impl Strategy<Value = Node> {
        let leaf = (text(), any::<bool>()).prop_map(|(text, plain)| {
            let scalar = Scalar { text, plain, interpolated: false };
            Node { value: Value::Scalar(scalar), at: at(), tag: MergeTag::None }
        });
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| Node::list(items, &at())),
                prop::collection::btree_map(text(), inner, 0..6).prop_map(|map| {
                    let entry = |(key, value)| Entry { key, at: at(), value };
                    Node::map(map.into_iter().map(entry).collect(), &at())
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn loading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _result = load("x", &bytes, Budget::default());
        }

        #[test]
        fn loading_yaml_like_text_never_panics(text in "[a-c:\\-\\[\\]{}&*!|>'\"%@#?,<~ \n\t\r.0-2\\\\x]{0,120}") {
            if let Ok(node) = load("x", text.as_bytes(), Budget::default()) {
                let again = load("x", emit(&node).as_bytes(), Budget::default()).unwrap();
                prop_assert!(same(&node, &again), "{node:?}\n{}\n{again:?}", emit(&node));
            }
        }

        #[test]
        fn what_is_emitted_loads_as_it_was(node in tree()) {
            let text = emit(&node);
            let again = load("x", text.as_bytes(), Budget::default());
            prop_assert!(again.is_ok(), "{text}\n{again:?}");
            prop_assert!(same(&node, &again.unwrap()), "{text}");
        }
    }
}

#[test]
fn many_duplicates_below_a_long_key_cost_little() {
    let text = format!("? {}\n:\n{}", "k".repeat(100_000), "  a: 1\n".repeat(20_000));
    let effort = crate::effort::Effort::begin();
    let problems = load("x", text.as_bytes(), Budget::default()).unwrap_err();
    assert_eq!(problems.len(), 1_000);
    assert!(problems.iter().all(|problem| problem.field.as_ref().is_some_and(|field| field.len() < 300)));
    assert!(effort.spent() < std::time::Duration::from_secs(5), "{:?}", effort.spent());
}
