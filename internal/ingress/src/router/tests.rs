use proptest::prelude::*;

use super::Router;

fn router(rules: &[(&str, &str, bool)]) -> Router<usize> {
    let mut router = Router::default();
    for (position, (domain, path, strip)) in rules.iter().enumerate() {
        router.insert(domain, path, *strip, position);
    }
    router
}

fn found(router: &Router<usize>, host: &str, path: &str) -> Option<(usize, usize)> {
    router.find(host, path).map(|found| (*found.value, found.strip))
}

#[test]
fn a_prefix_matches_itself_and_what_is_below_it() {
    let router = router(&[("a.example", "", false), ("a.example", "/api", true), ("a.example", "/api/v2", false)]);
    for (path, expected) in [
        ("/", (0, 0)),
        ("/api", (1, 4)),
        ("/api/", (1, 4)),
        ("/api/x", (1, 4)),
        ("/apix", (0, 0)),
        ("/api/v2", (2, 0)),
        ("/api/v2/y", (2, 0)),
        ("/api/v22", (1, 4)),
        ("/API", (0, 0)),
        ("*", (0, 0)),
    ] {
        assert_eq!(found(&router, "a.example", path), Some(expected), "{path}");
    }
}

#[test]
fn a_host_matches_in_any_case_with_port_or_trailing_dot() {
    let router = router(&[("a.example", "", false), ("10.0.0.1", "", false)]);
    for (host, expected) in [
        ("a.example", Some((0, 0))),
        ("A.Example", Some((0, 0))),
        ("a.example:8080", Some((0, 0))),
        ("a.example.", Some((0, 0))),
        ("A.EXAMPLE.:80", Some((0, 0))),
        ("10.0.0.1:80", Some((1, 0))),
        ("b.a.example", None),
        ("example", None),
        ("", None),
        (":80", None),
        (".", None),
        ("[::1]:80", None),
        ("a.example:http", None),
    ] {
        assert_eq!(found(&router, host, "/"), expected, "{host}");
    }
}

#[test]
fn without_a_catch_all_other_paths_are_not_found() {
    let router = router(&[("a.example", "/api", false)]);
    assert_eq!(found(&router, "a.example", "/"), None);
    assert_eq!(found(&router, "a.example", "/api/a/very/long/path/indeed"), Some((0, 0)));
    assert_eq!(found(&router, "a.example", "/apiandmore/api"), None);
}

/// What the contract says, word for word: longest prefix on segment borders.
fn naive(prefixes: &[String], path: &str) -> Option<usize> {
    prefixes
        .iter()
        .enumerate()
        .filter(|(_, prefix)| path == prefix.as_str() || path.starts_with(&format!("{prefix}/")))
        .max_by_key(|(_, prefix)| prefix.len())
        .map(|(position, _)| position)
}

proptest! {
    #[test]
    fn the_longest_prefix_wins(
        mut prefixes in proptest::collection::vec("(/[ab]{1,2}){0,4}", 0..8),
        path in "(/[ab]{0,3}){1,6}",
    ) {
        prefixes.sort();
        prefixes.dedup();
        let mut router = Router::default();
        for (position, prefix) in prefixes.iter().enumerate() {
            router.insert("h", prefix, true, position);
        }
        let expected = naive(&prefixes, &path);
        prop_assert_eq!(router.find("h", &path).map(|found| *found.value), expected);
        if let (Some(found), Some(expected)) = (router.find("h", &path), expected) {
            prop_assert_eq!(found.strip, prefixes[expected].len());
        }
    }

    #[test]
    fn nothing_panics(host in ".{0,40}", path in ".{0,60}", prefix in "/.{0,20}") {
        let mut router = Router::default();
        router.insert("h", &prefix, true, 0);
        let _found = router.find(&host, &path);
        let _found = router.find("h", &path);
    }
}
