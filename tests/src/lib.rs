//! Tests of the product as a whole: the rules of the workspace, and the real programs on a real engine.
//!
//! [`Engine`] is a Docker engine of the test's own, so that it can be stopped and restarted under running containers; [`Daemon`] is
//! a real `jacod` in a folder of its own; [`Cli`] is the real `jaco`. All of them clean up when they are dropped.

mod cli;
mod daemon;
mod engine;
mod http;
mod image;
mod manager;
mod netns;
mod node;
mod project;
mod stream;
mod suite;
mod traffic;
mod wait;

pub use cli::{Answer, Cli};
pub use daemon::{Daemon, free_ports};
pub use engine::Engine;
pub use http::{Reply, get, try_get};
pub use image::{WEB_IMAGE, WEB_IMAGE_CHANGES, build_web_image, pack_web_image};
pub use manager::Manager;
pub use netns::UdpEcho;
pub use node::Node;
pub use project::{Project, web_compose, web_jaco};
pub use stream::Stream;
pub use suite::{Case, Shared, run};
pub use traffic::Traffic;
pub use wait::{eventually, pause};

use std::path::PathBuf;

/// Folder of the programs under test: `JACO_BIN_DIR`, or where cargo put them beside this test.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("JACO_BIN_DIR") {
        return PathBuf::from(folder).join(name);
    }
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(|deps| deps.parent()).map(PathBuf::from).unwrap_or_default();
    folder.join(name)
}

/// Whether the end-to-end tests can run here; otherwise the reason is printed with the test's name, and the test passes as skipped.
#[must_use]
pub fn can_run(test: &str) -> bool {
    let reason = if !nix::unistd::Uid::effective().is_root() {
        Some("it needs root for an engine of its own")
    } else if std::process::Command::new("dockerd").arg("--version").output().is_err() {
        Some("there is no dockerd")
    } else if !std::path::Path::new("/bin/busybox").exists() {
        Some("there is no static busybox to build an image from")
    } else {
        None
    };
    match reason {
        None => true,
        Some(reason) if std::env::var_os("JACO_REQUIRE_ENGINE").is_some() => panic_for(test, reason),
        Some(reason) => {
            announce(&format!("SKIPPED {test}: {reason}"));
            false
        }
    }
}

#[allow(clippy::panic)] // A test that was required to run and cannot has failed.
fn panic_for(test: &str, reason: &str) -> ! {
    panic!("{test} must run here and cannot: {reason}")
}

/// Says something to whoever runs the tests.
#[allow(clippy::print_stderr)] // What a test harness says goes to whoever runs it.
pub fn announce(text: &str) {
    eprintln!("{text}");
}
