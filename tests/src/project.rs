//! Manifests in a folder of their own.

use std::path::{Path, PathBuf};

use crate::WEB_IMAGE;

/// A folder with a `jaco.yaml` and a `compose.yml`.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// A folder with these two files.
    pub fn new(jaco: &str, compose: &str) -> anyhow::Result<Project> {
        let project = Project { folder: tempfile::Builder::new().prefix("jaco-project-").tempdir()? };
        project.write("jaco.yaml", jaco)?;
        project.write("compose.yml", compose)?;
        Ok(project)
    }

    /// Writes a file of the folder anew.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.folder.path().join(name), text)?)
    }

    /// Path of the `jaco.yaml`.
    pub fn jaco(&self) -> String {
        self.folder.path().join("jaco.yaml").display().to_string()
    }

    /// Path of any file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A `jaco.yaml` with one service `web` and a route to it.
pub fn web_jaco(deployment: &str, replicas: u32) -> String {
    format!(
        "deployment: {deployment}\nservices:\n  - name: web\n    replicas: {replicas}\nroutes:\n  - domain: {deployment}.test\n    service: web\n    \
         port: 8080\n    tls: off\n"
    )
}

/// A compose file with one service `web` that answers with VALUE under `/cgi-bin/show`; it is healthy while `/tmp/sick` is not there.
pub fn web_compose(value: &str) -> String {
    format!(
        "services:\n  web:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    tmpfs: [/tmp]\n    environment:\n      VALUE: {value}\n    \
         healthcheck:\n      test: [\"CMD-SHELL\", \"[ ! -e /tmp/sick ] && wget -q -O /dev/null http://127.0.0.1:8080/\"]\n      \
         interval: 1s\n      timeout: 2s\n      retries: 2\n"
    )
}
