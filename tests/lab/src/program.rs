//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// Path of a program of the workspace: in `JACO_BIN_DIR`, else beside the running program, else where cargo puts programs relative to
/// a test (one folder up). The path need not exist.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("JACO_BIN_DIR") {
        return PathBuf::from(folder).join(name);
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.parent().map(|folder| folder.join(name)).unwrap_or_default();
    if beside.exists() {
        return beside;
    }
    own.parent().and_then(Path::parent).map(|folder| folder.join(name)).unwrap_or_default()
}
