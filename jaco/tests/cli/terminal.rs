//! What somebody sees who sits at a terminal.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use jaco_proto::v1::{DeploymentStatus, ReplicaState};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::fake::{Fake, state};
use crate::run::{eventually, interrupt, jaco_at, small_project};

/// A terminal of 60 columns and 30 lines: this side's end, and the one a program gets.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs =
        File::options().read(true).write(true).custom_flags(OpenptFlags::NOCTTY.bits() as i32).open(name).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 30, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(ours), theirs)
}

fn read_until(terminal: &mut File, wanted: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(wanted) {
        let count = terminal.read(&mut buffer).unwrap();
        assert!(count > 0, "ended before {wanted:?}: {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[test]
fn a_watch_redraws_in_place_and_cuts_to_the_width() {
    let fake = Fake::start();
    let mut first = state(DeploymentStatus::Pending, ReplicaState::Failed);
    first.replicas[0].message = Some("a long story ".repeat(20));
    fake.script.change(first);
    let (mut ours, theirs) = terminal();
    let mut command = jaco_at(&fake.socket(), &["status", "-w"]);
    let mut child = on(&mut command, &theirs).stderr(Stdio::null()).spawn().unwrap();
    let text = read_until(&mut ours, "DOMAIN");
    assert!(text.contains('…') && !text.contains('\x1b'), "{text:?}");
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    let text = read_until(&mut ours, "ACTIVE");
    // Three tables with headings, two blank lines, two rows: ten lines to go up.
    assert!(text.contains("\x1b[10A\x1b[J"), "{text:?}");
    assert!(!text.contains("---"), "{text:?}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn apply_shows_what_each_replica_is_doing() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Pending, ReplicaState::Pulling));
    let (_directory, manifest) = small_project();
    let (mut ours, theirs) = terminal();
    let mut command = jaco_at(&fake.socket(), &["apply", manifest.to_str().unwrap(), "--wait"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(theirs.try_clone().unwrap()).env("TERM", "xterm").spawn().unwrap();
    let text = read_until(&mut ours, "pulling web:1");
    assert!(text.contains("shop-web-0"), "{text:?}");
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    read_until(&mut ours, "running");
    eventually("the client ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"Applied revision: 5\n"[..]));
}

fn on<'a>(command: &'a mut Command, terminal: &File) -> &'a mut Command {
    command.stdout(terminal.try_clone().unwrap()).env("TERM", "xterm")
}
