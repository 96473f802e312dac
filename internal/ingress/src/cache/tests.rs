use std::os::unix::fs::PermissionsExt;

use super::{CacheError, load, store};
use crate::table::{RouteRule, Table};

fn table() -> Table {
    Table {
        routes: vec![RouteRule { domain: "a.example".to_owned(), path: "/x".to_owned(), strip_path: true, backend: 0 }],
        ..Table::default()
    }
}

#[test]
fn what_was_stored_is_loaded_and_only_the_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ingress/cache/routes.json");
    assert!(load(&path).unwrap().is_none());
    store(&path, &Table::default()).unwrap();
    store(&path, &table()).unwrap();
    assert_eq!(load(&path).unwrap(), Some(table()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn another_version_and_damage_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    std::fs::write(&path, r#"{"version":2,"table":{"new":"shape"}}"#).unwrap();
    assert!(matches!(load(&path), Err(CacheError::Version(2))));
    std::fs::write(&path, r#"{"version":1,"tab"#).unwrap();
    assert!(matches!(load(&path), Err(CacheError::Format(_))));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(load(&path), Err(CacheError::Format(_))));
}

/// The format's first fixture: a file written today must stay readable.
#[test]
fn the_first_format_stays_readable() {
    let text = r#"{"version":1,"table":{"routes":[{"domain":"a.example","path":"/x","strip_path":true,"backend":0}],
        "ports":[{"protocol":"udp","host_port":53,"backend":0}],
        "backends":[{"deployment":"d","service":"s","port":80,"protocol":"h2c",
            "endpoints":[{"address":"10.0.0.1:80","container":"c"}]}]}}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    std::fs::write(&path, text).unwrap();
    let read = load(&path).unwrap().unwrap();
    assert_eq!(read.routes, table().routes);
    assert_eq!(read.ports[0].host_port, 53);
    assert_eq!(read.backends[0].endpoints[0].container, "c");
}
