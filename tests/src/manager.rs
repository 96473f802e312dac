//! What systemd does for a unit with `FileDescriptorStoreMax=` and a socket: a stand-in that listens on `NOTIFY_SOCKET`, keeps the
//! descriptors it is handed, and passes them to the next process.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::wait::eventually;

/// Descriptors below this number are the child's own business.
const SPARE: i32 = 100;

/// The stand-in.
pub struct Manager {
    notify: UnixDatagram,
    path: PathBuf,
    control: UnixListener,
    kept: Vec<(String, OwnedFd)>,
    said: Vec<String>,
}

impl Manager {
    /// Binds the control socket and a notification socket in this folder.
    pub fn new(folder: &Path, control: &Path) -> anyhow::Result<Manager> {
        let path = folder.join("notify.sock");
        let notify = UnixDatagram::bind(&path).context("the notification socket")?;
        notify.set_nonblocking(true)?;
        Ok(Manager { notify, path, control: UnixListener::bind(control)?, kept: Vec::new(), said: Vec::new() })
    }

    /// A command that starts a program with the control socket and everything kept, as systemd would.
    ///
    /// A shell puts the descriptors in their places and its own process id into LISTEN_PID, and then becomes the program: nothing
    /// needs to run between fork and exec here. The spare copies live as long as the guard that comes with the command.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<(Command, Vec<OwnedFd>)> {
        let mut spare = Vec::new();
        let mut names = Vec::new();
        let control = [("jaco.socket", self.control.as_fd())];
        let kept = self.kept.iter().map(|(name, descriptor)| (name.as_str(), descriptor.as_fd()));
        for (name, descriptor) in control.into_iter().chain(kept) {
            let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, SPARE)?;
            rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty())?;
            spare.push(copy);
            names.push(name);
        }
        let moves: String = spare
            .iter()
            .enumerate()
            .map(|(index, descriptor)| format!("{}<&{1} {1}<&- ", index + 3, descriptor.as_raw_fd()))
            .collect();
        let script = format!("exec {moves}; LISTEN_PID=$$ exec \"$@\"");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script, "bash"])
            .arg(program)
            .args(arguments)
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("NOTIFY_SOCKET", &self.path);
        Ok((command, spare))
    }

    /// Waits until the unit has said this (a whole line such as `READY=1`), keeping what is handed over meanwhile.
    pub fn wait_for(&mut self, line: &str, deadline: Duration) -> anyhow::Result<()> {
        eventually(deadline, &format!("the unit says {line}"), || {
            self.take().map_err(|error| error.to_string())?;
            if self.said.iter().any(|said| said == line) { Ok(()) } else { Err(format!("it said {:?}", self.said)) }
        })
    }

    /// Forgets what was said, before the next start.
    pub fn forget(&mut self) {
        self.said.clear();
    }

    /// Names of the descriptors kept.
    pub fn kept(&self) -> Vec<&str> {
        self.kept.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn take(&mut self) -> anyhow::Result<()> {
        loop {
            let mut bytes = [0_u8; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let message = match recvmsg(
                &self.notify,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(message) => message,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let text = String::from_utf8_lossy(bytes.get(..message.bytes).unwrap_or_default()).into_owned();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
            let stores = lines.iter().any(|line| line == "FDSTORE=1");
            for part in control.drain() {
                if let (RecvAncillaryMessage::ScmRights(descriptors), true) = (part, stores) {
                    self.keep(&name, descriptors);
                }
            }
            self.said.extend(lines);
        }
    }

    /// As systemd: a second descriptor of the same open file is dropped.
    fn keep(&mut self, name: &str, descriptors: impl Iterator<Item = OwnedFd>) {
        for descriptor in descriptors {
            let same = |other: &OwnedFd| match (rustix::fs::fstat(other), rustix::fs::fstat(&descriptor)) {
                (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
                (Ok(_) | Err(_), _) => false,
            };
            if !self.kept.iter().any(|(_, other)| same(other)) {
                self.kept.push((name.to_owned(), descriptor));
            }
        }
    }
}
