use super::*;

#[test]
fn a_containers_group_is_known_in_every_form_and_nothing_else_is() {
    let id = "0123456789abcdef".repeat(4);
    for path in [
        format!("12:pids:/docker/{id}"),
        format!("0::/system.slice/docker-{id}.scope"),
        format!("1:name=systemd:/custom/parent/{id}/init"),
        format!("0::/\n5:memory:/../../docker/{id}"),
    ] {
        assert!(is_in(&path, &id), "{path}");
    }
    let other = "f".repeat(64);
    for path in [format!("0::/docker/{other}"), "0::/".to_owned(), String::new(), format!("0::/docker/x{id}")] {
        assert!(!is_in(&path, &id), "{path}");
    }
    assert!(!is_in("0::/docker/", ""), "an empty id is nobody's");
    assert!(!is_in("0::/docker/abc", "abc"), "nor is a short one");
}
