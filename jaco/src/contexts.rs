//! The clusters file: remote clusters by name, and which of them is meant when nothing is said.
//!
//! It may hold tokens, so it is refused unless its mode is exactly 0600, and no error repeats a line of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jaco_client::RemoteChoice;
use jaco_types::{ErrorCode, UserError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::private_file;

/// A clusters file's content.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clusters {
    /// The context that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_context: Option<String>,
    /// The contexts, in the order they were added.
    #[serde(default)]
    pub contexts: Vec<Context>,
}

/// A remote cluster, and how to get into it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Its name here.
    pub name: String,
    /// `host:port` of nodes; the first that answers is used.
    pub server_addrs: Vec<String>,
    /// File of the authority's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert_path: Option<PathBuf>,
    /// Operator token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// File of the client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_path: Option<PathBuf>,
    /// File of the client certificate's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key_path: Option<PathBuf>,
}

impl Context {
    /// How one gets in: `token`, `certificate` or `none`.
    pub fn login(&self) -> &'static str {
        match (&self.token, &self.client_cert_path) {
            (Some(_), _) => "token",
            (None, Some(_)) => "certificate",
            (None, None) => "none",
        }
    }

    /// The same, for the dialer.
    pub fn choice(&self) -> RemoteChoice {
        RemoteChoice {
            servers: self.server_addrs.join(","),
            token: self.token.clone(),
            ca_cert: self.ca_cert_path.clone(),
            ca_fingerprint: None,
            certificate: self.client_cert_path.clone().zip(self.client_key_path.clone()),
        }
    }
}

/// A context in one file, with everything it needs: what `cluster init --context-file` writes and `context import` reads.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextFile {
    /// A name for it.
    pub name: String,
    /// `host:port` of nodes.
    pub server_addrs: Vec<String>,
    /// The authority's certificate, PEM.
    pub ca_cert: String,
    /// Operator token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The client certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// Its key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
}

/// Whether a name can be a context's: it is also that of a directory.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(good)
}

impl Clusters {
    /// Reads the file; none is an empty one.
    ///
    /// Errors: `permission_denied` for a mode other than 0600; `validation_failed`.
    pub fn read(path: &Path) -> Result<Clusters, UserError> {
        let text = match read_private(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Clusters::default()),
            Err(error) => return Err(unreadable(path, &error)),
            Ok(Err(mode)) => return Err(too_open(path, mode)),
            Ok(Ok(text)) => text,
        };
        let clusters: Clusters = parse(path, &text)?;
        if let Some(context) = clusters.contexts.iter().find(|context| context.server_addrs.is_empty()) {
            return Err(wrong(path, &format!("context {:?} has no server_addrs", context.name)));
        }
        Ok(clusters)
    }

    /// Writes the file, and makes its directory.
    pub fn write(&self, path: &Path) -> Result<(), UserError> {
        if let Some(directory) = path.parent() {
            private_file::make_directory(directory)?;
        }
        private_file::write(path, &to_yaml(self)?)
    }

    /// The context of this name.
    ///
    /// Errors: `usage` when there is none.
    pub fn find(&self, name: &str, path: &Path) -> Result<&Context, UserError> {
        self.contexts.iter().find(|context| context.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.iter().map(|context| context.name.as_str()).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            UserError::new(
                ErrorCode::Usage,
                format!("{} has no context {name:?} ({known}); `jaco context import` adds one", path.display()),
            )
            .with("context", name)
        })
    }

    /// Puts a context in, in place of the one of the same name.
    pub fn put(&mut self, context: Context) {
        match self.contexts.iter_mut().find(|known| known.name == context.name) {
            Some(known) => *known = context,
            None => self.contexts.push(context),
        }
    }
}

impl ContextFile {
    /// Reads a file that was written for an import.
    pub fn read(path: &Path) -> Result<ContextFile, UserError> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let file: ContextFile = parse(path, &text)?;
        if !is_name(&file.name) || file.server_addrs.is_empty() {
            return Err(wrong(path, "a context has a name of letters, digits, `-`, `_` and `.`, and server_addrs"));
        }
        if file.client_cert.is_some() != file.client_key.is_some() {
            return Err(wrong(path, "client_cert and client_key go together"));
        }
        Ok(file)
    }

    /// Writes it with mode 0600.
    pub fn write(&self, path: &Path) -> Result<(), UserError> {
        private_file::write(path, &to_yaml(self)?)
    }

    /// Puts its certificates into files below this directory; gives the context that names them.
    pub fn unpack(self, directory: &Path) -> Result<Context, UserError> {
        let directory = directory.join(&self.name);
        private_file::make_directory(&directory)?;
        let put = |name: &str, content: &str| {
            let path = directory.join(name);
            private_file::write(&path, content).map(|()| path)
        };
        Ok(Context {
            ca_cert_path: Some(put("ca.crt", &self.ca_cert)?),
            client_cert_path: self.client_cert.as_deref().map(|pem| put("client.crt", pem)).transpose()?,
            client_key_path: self.client_key.as_deref().map(|pem| put("client.key", pem)).transpose()?,
            name: self.name,
            server_addrs: self.server_addrs,
            token: self.token,
        })
    }
}

/// Where the clusters file is: `$XDG_CONFIG_HOME/jaco/clusters.yaml`, else `~/.config/jaco/clusters.yaml`.
pub fn default_path(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    // The base directory specification has relative paths ignored.
    let configured = environment("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = configured.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(base.join("jaco/clusters.yaml"))
}

/// The text of a file whose mode is 0600, or the mode that it has.
fn read_private(path: &Path) -> io::Result<Result<String, u32>> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode != 0o600 {
        return Ok(Err(mode));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Ok(text))
}

fn too_open(path: &Path, mode: u32) -> UserError {
    UserError::new(
        ErrorCode::PermissionDenied,
        format!("{0} has the mode {mode:04o} and may hold tokens: chmod 600 {0}", path.display()),
    )
    .with("path", path.display())
    .with("mode", format!("{mode:04o}"))
}

fn unreadable(path: &Path, error: &io::Error) -> UserError {
    UserError::new(ErrorCode::ValidationFailed, format!("{} cannot be read: {error}", path.display()))
        .with("path", path.display())
}

fn wrong(path: &Path, reason: &str) -> UserError {
    UserError::new(ErrorCode::ValidationFailed, format!("{}: {reason}", path.display())).with("path", path.display())
}

/// Reads YAML; the error says where, and not what stands there.
fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, UserError> {
    serde_saphyr::from_str(text).map_err(|error: serde_saphyr::Error| {
        let place = error.location().map_or_else(String::new, |at| format!(" at line {}", at.line()));
        wrong(path, &format!("it is not as expected{place}: see `jaco context --help`"))
    })
}

fn to_yaml<T: Serialize>(value: &T) -> Result<String, UserError> {
    serde_saphyr::to_string(value).map_err(|error| UserError::internal("the file cannot be made", error))
}

#[cfg(test)]
#[path = "contexts/tests.rs"]
mod tests;
