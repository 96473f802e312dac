use super::*;

#[test]
fn sizes() {
    for (text, expected) in [
        ("64m", Some(64 << 20)),
        ("1g", Some(1 << 30)),
        ("1.5gb", Some(3 << 29)),
        ("1.5 GiB", Some(3 << 29)),
        ("512", Some(512)),
        ("10b", Some(10)),
        ("2K", Some(2048)),
        ("0", Some(0)),
        ("1t", Some(1 << 40)),
        ("", None),
        (".", None),
        ("-1", None),
        ("1x", None),
        ("1.2.3m", None),
        ("99999999999999999999p", None),
    ] {
        assert_eq!(parse_size(text), expected, "{text}");
    }
}

#[test]
fn durations() {
    for (text, nanos) in [
        ("1m30s", Some(90_000_000_000)),
        ("10s", Some(10_000_000_000)),
        ("1.5s", Some(1_500_000_000)),
        ("300ms", Some(300_000_000)),
        ("1h5m30s20ms", Some(3_930_020_000_000)),
        ("40us", Some(40_000)),
        ("1d", Some(86_400_000_000_000)),
        ("0", Some(0)),
        ("0s", Some(0)),
        ("30", None),
        ("s", None),
        ("-5s", None),
        ("5 s", None),
        ("5y", None),
        ("99999999999999999999999999999999999999999h", None),
        ("", None),
    ] {
        assert_eq!(parse_duration(text), nanos.map(Duration::from_nanos), "{text}");
    }
}

#[test]
fn integers_booleans_and_cpus() {
    for (text, expected) in [
        ("3", Some(3)),
        ("-1", Some(-1)),
        ("0x10", Some(16)),
        ("0o17", Some(15)),
        ("2.0", Some(2)),
        ("2.5", None),
        ("x", None),
    ] {
        assert_eq!(parse_integer(text), expected, "{text}");
    }
    for (text, expected) in
        [("true", Some(true)), ("False", Some(false)), ("on", Some(true)), ("maybe", None), ("", None)]
    {
        assert_eq!(parse_bool(text), expected, "{text}");
    }
    assert_eq!(parse_cpus("0.5"), Some(500_000_000));
    assert_eq!(parse_cpus("2"), Some(2_000_000_000));
    assert_eq!(parse_cpus("two"), None);
}

#[test]
fn words() {
    for (text, expected) in [
        ("npm run start", Ok(vec!["npm", "run", "start"])),
        ("sh -c 'a b'\"c d\"e", Ok(vec!["sh", "-c", "a bc de"])),
        (r#"printf "a\nb\"c\\""#, Ok(vec!["printf", r#"a\nb"c\"#])),
        (r"a\ b ''", Ok(vec!["a b", ""])),
        ("  a\n\tb  ", Ok(vec!["a", "b"])),
        ("a \\\n b", Ok(vec!["a", "b"])),
        ("", Ok(vec![])),
        ("'open", Err("a single quote is not closed")),
        ("\"open", Err("a double quote is not closed")),
        ("end\\", Err("it ends in a backslash")),
    ] {
        let expected: Result<Vec<String>, _> = expected.map(|words| words.into_iter().map(str::to_owned).collect());
        assert_eq!(split_words(text), expected, "{text}");
    }
}
