use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue, TE, UPGRADE};
use http::{Request, Version};

use super::{clean_request, clean_response, host_of, join_cookies, set_forwarded};

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn names(map: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = map.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn hop_by_hop_fields_and_those_named_by_connection_are_removed() {
    let mut headers = map(&[
        ("connection", "keep-alive, X-Mine"),
        ("connection", "close"),
        ("x-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("te", "gzip"),
        ("accept", "*/*"),
    ]);
    assert_eq!(clean_request(&mut headers, true), None);
    assert_eq!(names(&headers), ["accept"]);
}

#[test]
fn connection_cannot_name_what_frames_or_aims_the_request() {
    let mut headers =
        map(&[("connection", "host, content-length, cookie"), ("host", "a"), ("content-length", "3"), ("cookie", "c")]);
    clean_request(&mut headers, true);
    assert!(headers.contains_key(HOST) && headers.contains_key(CONTENT_LENGTH) && headers.contains_key(COOKIE));
    assert!(!headers.contains_key(CONNECTION));
}

#[test]
fn te_keeps_only_trailers() {
    let mut headers = map(&[("te", "deflate;q=0.5, Trailers")]);
    clean_request(&mut headers, true);
    assert_eq!(headers.get(TE), Some(&HeaderValue::from_static("trailers")));
}

#[test]
fn a_switch_passes_only_when_asked_for_in_full_and_never_to_h2c() {
    for (fields, upgradable, passes) in [
        (&[("connection", "Upgrade"), ("upgrade", "websocket")][..], true, true),
        (&[("connection", "keep-alive, upgrade"), ("upgrade", "websocket")], true, true),
        (&[("connection", "upgrade"), ("upgrade", "websocket")], false, false),
        (&[("upgrade", "websocket")], true, false),
        (&[("connection", "upgrade")], true, false),
        (&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAM")], true, false),
    ] {
        let mut headers = map(fields);
        assert_eq!(clean_request(&mut headers, upgradable).is_some(), passes, "{fields:?}");
        assert!(
            !headers.contains_key(UPGRADE)
                && !headers.contains_key(CONNECTION)
                && !headers.contains_key("http2-settings")
        );
    }
}

#[test]
fn what_a_client_says_about_itself_is_replaced() {
    let mut headers = map(&[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=1.2.3.4"),
    ]);
    clean_request(&mut headers, true);
    set_forwarded(&mut headers, &HeaderValue::from_static("10.0.0.9"), HeaderValue::from_static("a.example"));
    assert_eq!(names(&headers), ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
    assert_eq!(headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["10.0.0.9"]);
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "a.example");
}

#[test]
fn split_cookies_are_joined() {
    let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
    join_cookies(&mut headers);
    assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn answers_lose_what_concerns_the_upstreams_connection() {
    let mut headers = map(&[
        ("connection", "close, x-mine"),
        ("x-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("upgrade", "h2c"),
        ("server", "theirs"),
        ("content-length", "3"),
    ]);
    clean_response(&mut headers);
    assert_eq!(names(&headers), ["content-length", "server"]);
}

#[test]
fn an_answer_has_no_length_beside_a_transfer_coding() {
    let mut headers = map(&[("transfer-encoding", "chunked"), ("content-length", "3"), ("x-kept", "1")]);
    clean_response(&mut headers);
    assert_eq!(names(&headers), ["x-kept"]);
}

#[test]
fn the_host_is_that_of_the_target_or_of_the_one_host_field() {
    let host = |uri: &str, hosts: &[&'static str], version: Version| {
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse().unwrap();
        *request.version_mut() = version;
        for value in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_static(value));
        }
        host_of(&request).map(|value| value.to_str().unwrap().to_owned())
    };
    let v11 = Version::HTTP_11;
    assert_eq!(host("/x", &["a:80"], v11).as_deref(), Some("a:80"));
    assert_eq!(host("http://b/x", &["a"], v11).as_deref(), Some("b"));
    assert_eq!(host("http://user:secret@b/x", &["a"], v11).as_deref(), Some("b"));
    assert_eq!(host("/x", &[], v11), None);
    assert_eq!(host("/x", &[], Version::HTTP_10).as_deref(), Some(""));
    assert_eq!(host("/x", &["a", "a"], v11), None);
    assert_eq!(host("/x", &["a/b"], v11), None);
    assert_eq!(host("/x", &["a b"], v11), None);
    assert_eq!(host("/x", &["a@b"], v11), None);
}
