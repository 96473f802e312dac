use std::time::Duration;

use super::*;

fn read(text: &str) -> Vec<(String, Option<String>)> {
    let outer = |name: &str| (name == "OUTER").then(|| "outside".to_owned());
    let file = parse("x.env", text.as_bytes(), Format::Dotenv, &outer).unwrap_or_else(|p| panic!("{text:?}: {p:?}"));
    file.variables.into_iter().map(|variable| (variable.name, variable.value)).collect()
}

fn refused(text: &[u8]) -> Vec<String> {
    let problems = parse("x.env", text, Format::Dotenv, &|_| None).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn one_line() {
    let table = [
        ("A=1", "1"),
        ("A=", ""),
        ("A = 1", "1"),
        ("A =  1  ", "1"),
        ("  A=1", "1"),
        ("export A=1", "1"),
        ("export\tA=1", "1"),
        ("A: 1", "1"),
        ("A=a=b", "a=b"),
        ("A=a b c", "a b c"),
        ("A=a # comment", "a"),
        ("A=a\t# comment", "a"),
        ("A=a#b", "a#b"),
        ("A= # comment", ""),
        ("A=#fff", "#fff"),
        ("A=#fff # comment", "#fff"),
        ("A=a\t# tab # blank", "a"),
        ("A='a # b'", "a # b"),
        ("A='a' # comment", "a"),
        ("A=\"a\" # comment", "a"),
        ("A='$OUTER ${X}'", "$OUTER ${X}"),
        ("A='it\\'s'", "it's"),
        ("A='a\\nb'", "a\\nb"),
        ("A=\"a\\nb\\t\\\"c\\\" \\\\ \\q\"", "a\nb\t\"c\" \\ \\q"),
        ("A=\"\\$OUTER\"", "$OUTER"),
        ("A=a\\nb", "a\\nb"),
        ("A=\"\"", ""),
        ("A=it's", "it's"),
        ("A=say \"x\"", "say \"x\""),
        ("A=\"x\ny\"", "x\ny"),
        ("A='x\ny'", "x\ny"),
        ("A=$OUTER", "outside"),
        ("A=${OUTER}-x", "outside-x"),
        ("A=\"${NOPE:-d}\"", "d"),
        ("A=pa$$word", "pa$word"),
        ("A=$(cmd)", "$(cmd)"),
        ("A=1\r\n", "1"),
        ("A=\"x\r\ny\"\r\n", "x\ny"),
        ("\u{FEFF}A=1", "1"),
        ("A=größe", "größe"),
    ];
    for (text, expected) in table {
        assert_eq!(read(text), [("A".to_owned(), Some(expected.to_owned()))], "{text:?}");
    }
}

#[test]
fn several_lines() {
    let text =
        "# comment\n\nA=1\n  # another\nB=\"$A 2\"\nC='x\n y' # c\nD=$C\nE\nexport F\nA=3\nG=$A\nmy.key-1[0]=x\n";
    let expected = [
        ("A", Some("1")),
        ("B", Some("1 2")),
        ("C", Some("x\n y")),
        ("D", Some("x\n y")),
        ("E", None),
        ("F", None),
        ("A", Some("3")),
        ("G", Some("3")),
        ("my.key-1[0]", Some("x")),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(n, v)| (n.to_owned(), v.map(str::to_owned))).collect();
    assert_eq!(read(text), expected);
}

#[test]
fn lines_and_unset_references_are_told() {
    let file = parse("x", b"A='1\n2'\nB=$NOPE\n\nC=3", Format::Dotenv, &|_| None).unwrap();
    let lines: Vec<_> = file.variables.iter().map(|variable| variable.line).collect();
    assert_eq!((lines, file.unset), (vec![1, 3, 5], vec![("NOPE".to_owned(), 3)]));
}

#[test]
fn the_outer_value_of_a_reference_wins() {
    assert_eq!(read("OUTER=inside\nA=$OUTER")[1].1.as_deref(), Some("outside"));
}

#[test]
fn raw_lines() {
    let text = b"# c\nA=\"x\" # y\n  B='$Z'\nC\nD= a = b \r\n\n";
    let file = parse("x", text, Format::Raw, &|_| None).unwrap();
    let shown: Vec<_> = file.variables.iter().map(|v| (v.name.as_str(), v.value.as_deref())).collect();
    assert_eq!(shown, [("A", Some("\"x\" # y")), ("B", Some("'$Z'")), ("C", None), ("D", Some(" a = b "))]);
    assert!(parse("x", b"a b=1", Format::Raw, &|_| None).is_err());
}

#[test]
fn mistakes_have_a_line_and_no_values() {
    assert_eq!(
        refused(b"A=1\n=2\nB C=3\nD='x' y\nE=${\nF=1\n"),
        [
            "x.env:2:1: a variable name is missing before the `=`",
            "x.env:3:1: `B C` is not a variable name; a line is `NAME=value`",
            "x.env:4:1: text follows the closing quote of `D`",
            "x.env:5:1: the value of `E`: a variable name has to follow `${` in `${`; a literal dollar sign is written `$$`",
        ]
    );
    assert_eq!(refused(b"A=1\nB=\"x\n\n"), ["x.env:2:1: the value of `B` has no closing quote"]);
    assert_eq!(refused(b"A=1\nB=\xff"), ["x.env:2:1: the file is not UTF-8 text"]);
    assert_eq!(refused(b"A=\0"), ["x.env:1:1: a NUL byte cannot be part of a variable"]);
    assert_eq!(refused(b"A='\0'"), ["x.env:1:1: a NUL byte cannot be part of a variable"]);
    assert_eq!(refused(b"A=${X:?no}"), ["x.env:1:1: the value of `A`: the variable `X` is required: no"]);
}

#[test]
fn doubling_references_are_stopped() {
    let mut text = "A0=xxxxxxxxxx\n".to_owned();
    for i in 1..64 {
        text.push_str(&format!("A{i}=$A{}$A{}\n", i - 1, i - 1));
    }
    let begin = crate::effort::Effort::begin();
    let problems = parse("x", text.as_bytes(), Format::Dotenv, &|_| None).unwrap_err();
    assert_eq!(problems[0].code, ErrorCode::RequestTooLarge);
    assert!(begin.spent() < Duration::from_secs(2));
    assert_eq!(
        parse("x", &vec![b'\n'; LIMIT_BYTES + 1], Format::Raw, &|_| None).unwrap_err()[0].code,
        ErrorCode::RequestTooLarge
    );
}

#[test]
fn a_mebibyte_is_read_in_linear_time() {
    for unit in ["A=1\n", "A='\n", "A=\"\\\n", "\n", "#", "A=$A\n", "=\n", "A='x' y\n", "export ", "'", "A=${B:-"] {
        let text = unit.repeat(LIMIT_BYTES / unit.len());
        let begin = crate::effort::Effort::begin();
        let _result = parse("x", text.as_bytes(), Format::Dotenv, &|_| None);
        assert!(begin.spent() < Duration::from_secs(5), "{unit:?}: {:?}", begin.spent());
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _dotenv = parse("x", &bytes, Format::Dotenv, &|_| None);
            let _raw = parse("x", &bytes, Format::Raw, &|_| None);
        }

        #[test]
        fn never_panics_on_lines(text in "([A-C ]{0,2}[=:]?[\"'$#\\\\ {}:\\-A\r]{0,8}\n){0,6}") {
            let _result = parse("x", text.as_bytes(), Format::Dotenv, &|_| None);
        }

        #[test]
        fn a_single_quoted_value_is_itself(value in "[^'\\\\\0\r]{0,40}") {
            let file = parse("x", format!("A='{value}'").as_bytes(), Format::Dotenv, &|_| None).unwrap();
            prop_assert_eq!(file.variables[0].value.as_deref(), Some(value.as_str()));
        }

        #[test]
        fn a_raw_value_is_itself(value in "[^\n\r]{0,40}") {
            let file = parse("x", format!("A={value}").as_bytes(), Format::Raw, &|_| None).unwrap();
            prop_assert_eq!(file.variables[0].value.as_deref(), Some(value.as_str()));
        }
    }
}
