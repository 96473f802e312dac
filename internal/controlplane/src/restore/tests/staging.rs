use std::fs;
use std::path::{Path, PathBuf};

use crate::data_dir::DataDirLock;
use crate::restore::{Replaced, Staging};

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A data directory with an old life, and a new one that is built and not decided.
fn staged(folder: &Path, lock: &DataDirLock, replaced: Replaced) {
    write(&folder.join("node/id"), "old");
    write(&folder.join("raft/identity"), "old");
    let staging = Staging::begin(lock, replaced).unwrap();
    write(&staging.path().join("node/id"), "new");
    write(&staging.path().join("raft/identity"), "new");
    staging.commit().unwrap();
}

#[test]
fn a_new_life_takes_the_place_of_the_old_one() {
    for (replaced, left) in [
        (Replaced::Discard, vec!["lock", "node", "raft"]),
        (Replaced::Keep, vec!["before-recover-1", "lock", "node", "raft"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataDirLock::acquire(folder.path()).unwrap();
        staged(folder.path(), &lock, replaced);
        assert_eq!(names(folder.path()), left);
        assert_eq!(read(folder.path().join("node/id")), "new");
        assert_eq!(read(folder.path().join("raft/identity")), "new");
        if replaced == Replaced::Keep {
            assert_eq!(read(folder.path().join("before-recover-1/raft/identity")), "old");
            assert_eq!(read(folder.path().join("before-recover-1/node/id")), "old");
            staged(folder.path(), &lock, replaced);
            assert!(names(folder.path()).contains(&"before-recover-2".to_owned()));
        }
    }
}

#[test]
fn what_is_not_committed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(folder.path()).unwrap();
    write(&folder.path().join("node/id"), "old");
    let staging = Staging::begin(&lock, Replaced::Keep).unwrap();
    write(&staging.path().join("node/id"), "new");
    drop(staging);
    assert_eq!(names(folder.path()), ["lock", "node"]);
    // A process that died leaves it, and the next one removes it.
    write(&folder.path().join("new-life.part/node/id"), "half");
    assert!(!Staging::finish(&lock).unwrap());
    drop(Staging::begin(&lock, Replaced::Discard).unwrap());
    assert_eq!(names(folder.path()), ["lock", "node"]);
    assert_eq!(read(folder.path().join("node/id")), "old");
}

/// Every state that a death in the middle can leave, made by hand: `moves` of the four renames are done.
#[test]
fn a_decided_life_is_finished_from_wherever_it_stopped() {
    for replaced in [Replaced::Keep, Replaced::Discard] {
        for moves in 0..=4 {
            let folder = tempfile::tempdir().unwrap();
            let lock = DataDirLock::acquire(folder.path()).unwrap();
            let decided = folder.path().join("new-life");
            let aside = decided.join(if replaced == Replaced::Keep { "kept" } else { "discarded" });
            for part in ["node/id", "raft/identity"] {
                write(&folder.path().join(part), "old");
                write(&decided.join(part), "new");
            }
            fs::create_dir_all(&aside).unwrap();
            let steps = [
                (folder.path().join("node"), aside.join("node")),
                (decided.join("node"), folder.path().join("node")),
                (folder.path().join("raft"), aside.join("raft")),
                (decided.join("raft"), folder.path().join("raft")),
            ];
            for (from, to) in steps.iter().take(moves) {
                fs::rename(from, to).unwrap();
            }
            assert!(Staging::finish(&lock).unwrap());
            assert_eq!(read(folder.path().join("node/id")), "new", "{moves}");
            assert_eq!(read(folder.path().join("raft/identity")), "new", "{moves}");
            let kept = read(folder.path().join("before-recover-1/raft/identity"));
            assert_eq!(kept, if replaced == Replaced::Keep { "old" } else { "" }, "{moves}");
            assert!(!decided.exists());
            assert!(!Staging::finish(&lock).unwrap());
        }
    }
}
