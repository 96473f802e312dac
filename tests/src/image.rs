//! A small web image, made of the machine's static busybox: no registry is needed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

use crate::Engine;

/// The image's reference.
pub const WEB_IMAGE: &str = "jaco.test/web:1";

/// Runs busybox's web server and ends at once on SIGTERM, which the server itself ignores as process 1.
const START: &str = "#!/bin/sh\ntrap 'kill $child; exit 0' TERM\nhttpd -f -p 8080 -h /www &\nchild=$!\nwait $child\n";
/// Answers with the container's host name and the variable VALUE.
const SHOW: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s %s\\n' \"$(hostname)\" \"$VALUE\"\n";
/// Answers after two seconds.
const SLOW: &str = "#!/bin/sh\nsleep 2\nprintf 'Content-Type: text/plain\\r\\n\\r\\nslow %s\\n' \"$VALUE\"\n";

/// What makes an image of the web server's root file system, as lines of a Dockerfile.
pub const WEB_IMAGE_CHANGES: &[&str] = &["CMD [\"/bin/start\"]", "ENV PATH=/bin"];

/// Builds [`WEB_IMAGE`] on the engine.
pub fn build_web_image(engine: &Engine) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    engine.import(&pack_web_image(folder.path())?, WEB_IMAGE, WEB_IMAGE_CHANGES)
}

/// Packs the root file system of [`WEB_IMAGE`] into a tar in this folder, for `docker import`.
pub fn pack_web_image(folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("root");
    for name in ["bin", "tmp", "etc", "www/cgi-bin", "data"] {
        std::fs::create_dir_all(root.join(name))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for applet in [
        "sh", "httpd", "sleep", "cat", "hostname", "wget", "true", "false", "kill", "printf", "nc", "env", "nslookup",
        "touch", "grep", "test", "rm", "usleep", "timeout",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    std::fs::write(root.join("www/index.html"), "hello from jaco\n")?;
    for (name, text) in [("bin/start", START), ("www/cgi-bin/show", SHOW), ("www/cgi-bin/slow", SLOW)] {
        let path = root.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    let tar = folder.join("root.tar");
    pack(&root, &tar)?;
    Ok(tar)
}

fn pack(root: &Path, tar: &Path) -> anyhow::Result<()> {
    let output = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(tar).arg(".").output()?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
