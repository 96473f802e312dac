//! The upstream of the ingress benchmark: the machine's own nginx as an image, answering every request with 256 bytes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use jaco_e2e::Engine;

/// Its reference.
pub(crate) const UPSTREAM_IMAGE: &str = "jaco.bench/upstream:1";
/// The port it listens on.
pub(crate) const UPSTREAM_PORT: u16 = 8080;
/// Size of its answer, bytes.
pub(crate) const ANSWER: usize = 256;

const NGINX: &str = "/usr/sbin/nginx";

/// Builds [`UPSTREAM_IMAGE`] on the engine.
pub(crate) fn build(engine: &Engine) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("image-").tempdir()?;
    let root = folder.path().join("root");
    for name in ["tmp", "run", "etc", "var/lib/nginx", "var/log/nginx"] {
        std::fs::create_dir_all(root.join(name))?;
    }
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755))?;
    for file in std::iter::once(PathBuf::from(NGINX)).chain(libraries(NGINX)?) {
        let target = root.join(file.strip_prefix("/")?);
        std::fs::create_dir_all(target.parent().context("a file has a folder")?)?;
        std::fs::copy(&file, &target).with_context(|| format!("copying {}", file.display()))?;
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/none\n")?;
    std::fs::write(root.join("etc/group"), "root:x:0:\n")?;
    std::fs::write(root.join("etc/nginx.conf"), configuration())?;
    let tar = folder.path().join("root.tar");
    let output = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").output()?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    let command = format!("CMD [\"{NGINX}\", \"-c\", \"/etc/nginx.conf\"]");
    engine.import(&tar, UPSTREAM_IMAGE, &[&command])
}

fn configuration() -> String {
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\nerror_log stderr warn;\npid /run/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  default_type text/plain;\n  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n\
         server {{\n  listen {UPSTREAM_PORT};\n  location / {{ return 200 \"{}\"; }}\n  }}\n}}\n",
        "a".repeat(ANSWER)
    )
}

/// The shared libraries of a program, its loader included.
fn libraries(program: &str) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    ensure!(output.status.success(), "ldd {program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(libraries_of(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads `name => /path (address)` and `/path (address)`; what the kernel itself maps has no path.
fn libraries_of(listing: &str) -> Vec<PathBuf> {
    listing
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(|path| Path::new(path).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_both_forms_of_line() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries_of(listing), expected.map(PathBuf::from));
    }
}
