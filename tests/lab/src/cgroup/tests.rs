use super::*;

const V1: &str = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n\
    cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0\n\
    cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,release_agent=/x,name=systemd 0 0\n";
const UNIFIED: &str = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid,nsdelegate 0 0\n";
const V2: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n";

#[test]
fn hierarchies_are_read_from_the_mounts() {
    let options: Vec<Kind> =
        parse(&format!("/dev/sda / ext4 rw 0 0\n{V1}{UNIFIED}")).into_iter().map(|one| one.kind).collect();
    let v1 = |text: &str| Kind::V1(text.to_owned());
    assert_eq!(options, [v1("cpu,cpuacct"), v1("freezer"), v1("none,name=systemd"), Kind::V2]);
    assert_eq!(parse(V2), [Hierarchy { mount: "/sys/fs/cgroup".into(), kind: Kind::V2 }]);
    assert_eq!(parse("cut off"), []);
}

#[test]
fn hybrid_freezes_by_v1_and_a_pure_v2_by_its_own_file() {
    let hybrid = parse(&format!("{V1}{UNIFIED}"));
    let (file, word, _) = freezer(&hybrid, "host1", true).unwrap();
    assert_eq!((file.to_str().unwrap(), word), ("/sys/fs/cgroup/freezer/jaco-lab/host1/freezer.state", "FROZEN"));
    let (file, word, (status, wanted)) = freezer(&parse(V2), "host1", false).unwrap();
    assert_eq!((file.to_str().unwrap(), word), ("/sys/fs/cgroup/jaco-lab/host1/cgroup.freeze", "0"));
    assert_eq!((status.to_str().unwrap(), wanted), ("/sys/fs/cgroup/jaco-lab/host1/cgroup.events", "frozen 0"));
    assert_eq!(freezer(&[], "host1", true), None);
}
