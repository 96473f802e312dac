use super::*;

#[test]
fn mounts_of_the_machines_other_work_are_left_behind() {
    let mounts = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                  21 20 0:5 / /proc rw - proc proc rw\n\
                  22 20 0:6 / /run/user/0 rw - tmpfs tmpfs rw\n\
                  23 20 0:7 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n\
                  24 20 7:3 / /srv/images rw - ext4 /dev/loop3 rw\n\
                  25 20 0:8 / /tmp/build rw - tmpfs tmpfs rw\n";
    let needed = [Path::new("/tmp/build/jaco-lab-x"), Path::new("/usr/bin/jaco-lab")];
    let found: Vec<PathBuf> = foreign(mounts, &needed);
    let expected = ["/run/user/0", "/var/lib/docker/overlay2/x/merged", "/srv/images"].map(PathBuf::from);
    assert_eq!(found, expected);
}
