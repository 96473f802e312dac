//! Which daemon to talk to, and how.

use std::path::PathBuf;

use jaco_identity::{Fingerprint, OperatorToken};
use jaco_types::{ErrorCode, UserError};

/// Where the daemon's control socket is unless somebody says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/jaco/jaco.sock";

/// Where a node keeps the certificate of its cluster's authority.
pub const DEFAULT_CA_CERT: &str = "/var/lib/jaco/node/ca.crt";

/// What the user said about the transport, with flags, environment and context already merged.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The control socket to use; the default one when absent. Of no meaning beside `remote`.
    pub socket: Option<PathBuf>,
    /// Nodes to be reached over the network.
    pub remote: Option<RemoteChoice>,
}

/// Nodes to be reached over the network, as the user named them.
#[derive(Debug, Clone, Default)]
pub struct RemoteChoice {
    /// `host:port`, several separated by commas: the first that answers is used.
    pub servers: String,
    /// The operator's bearer token.
    pub token: Option<String>,
    /// File of the authority's certificate. An empty path is one that does not exist.
    pub ca_cert: Option<PathBuf>,
    /// SHA-256 of the authority's certificate; beside a file, the two have to agree.
    pub ca_fingerprint: Option<String>,
    /// Files of a client certificate and of its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A daemon's address.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// The control socket of the daemon on this machine.
    Socket(PathBuf),
    /// Daemons over the network.
    Remote(Remote),
}

/// Daemons over the network: how to know them, and how to be known.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(crate) servers: Vec<String>,
    pub(crate) trust: RemoteTrust,
    pub(crate) login: Login,
}

/// Which authority is trusted.
#[derive(Debug, Clone)]
pub(crate) enum RemoteTrust {
    /// The one in this file, which has this fingerprint if one was given.
    File(PathBuf, Option<Fingerprint>),
    /// The one with this fingerprint.
    Fingerprint(Fingerprint),
}

/// What is shown to the daemon.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    /// A bearer token.
    Token(OperatorToken),
    /// A client certificate with its key.
    Certificate {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
}

impl Endpoint {
    /// Picks the transport. Reads no file.
    ///
    /// # Errors
    /// `usage` for a server that is not `host:port` or a fingerprint that is none; `token_invalid` when there is neither a token nor a
    /// client certificate, or the token is none.
    pub fn choose(choice: &Choice) -> Result<Endpoint, UserError> {
        match &choice.remote {
            None => Ok(Endpoint::Socket(choice.socket.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)))),
            Some(remote) => Remote::new(remote).map(Endpoint::Remote),
        }
    }
}

impl Remote {
    fn new(choice: &RemoteChoice) -> Result<Remote, UserError> {
        let servers = choice.servers.split(',').map(|server| check_server(server.trim())).collect::<Result<_, _>>()?;
        let login = match (&choice.token, &choice.certificate) {
            (Some(token), _) => Login::Token(OperatorToken::parse(token).map_err(|error| error.user_error())?),
            (None, Some((certificate, key))) => {
                Login::Certificate { certificate: certificate.clone(), key: key.clone() }
            }
            (None, None) => {
                return Err(UserError::new(
                    ErrorCode::TokenInvalid,
                    "a remote node wants an operator token: give it with --token or JACO_TOKEN, or use a context with a token or a client certificate",
                ));
            }
        };
        let fingerprint = choice.ca_fingerprint.as_deref().map(fingerprint).transpose()?;
        let trust = match (&choice.ca_cert, fingerprint) {
            (Some(file), fingerprint) => RemoteTrust::File(file.clone(), fingerprint),
            (None, Some(fingerprint)) => RemoteTrust::Fingerprint(fingerprint),
            (None, None) => RemoteTrust::File(DEFAULT_CA_CERT.into(), None),
        };
        Ok(Remote { servers, trust, login })
    }
}

fn check_server(server: &str) -> Result<String, UserError> {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_v6 || port.parse::<u16>().is_err() {
        return Err(UserError::new(
            ErrorCode::Usage,
            format!(
                "the server {server:?} is not host:port (the port of the API is 7000 by default; IPv6 is [address]:port)"
            ),
        ));
    }
    Ok(server.to_owned())
}

fn fingerprint(text: &str) -> Result<Fingerprint, UserError> {
    text.trim().parse().map_err(|error| {
        UserError::new(
            ErrorCode::Usage,
            format!("the CA fingerprint (--ca-fingerprint or JACO_CA_FINGERPRINT) is not one: {error}"),
        )
    })
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Socket(path) => write!(f, "{}", path.display()),
            Endpoint::Remote(remote) => f.write_str(&remote.servers.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(servers: &str) -> RemoteChoice {
        RemoteChoice { servers: servers.into(), token: Some("ab".repeat(32)), ..RemoteChoice::default() }
    }

    fn chosen(choice: RemoteChoice) -> Result<Remote, UserError> {
        match Endpoint::choose(&Choice { remote: Some(choice), socket: Some("/s".into()) })? {
            Endpoint::Remote(remote) => Ok(remote),
            Endpoint::Socket(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn the_socket_is_the_default_one_unless_given() {
        assert_eq!(Endpoint::choose(&Choice::default()).unwrap().to_string(), DEFAULT_SOCKET);
        let choice = Choice { socket: Some("/tmp/a.sock".into()), ..Choice::default() };
        assert_eq!(Endpoint::choose(&choice).unwrap().to_string(), "/tmp/a.sock");
    }

    #[test]
    fn servers_have_ports() {
        assert_eq!(chosen(remote("a:7000, [::1]:7000")).unwrap().servers, ["a:7000", "[::1]:7000"]);
        for wrong in ["a", "a:", ":7000", "a:70000", "::1:7000", "a:7000,", ""] {
            assert_eq!(chosen(remote(wrong)).unwrap_err().code, ErrorCode::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn somebody_has_to_log_in() {
        let error = chosen(RemoteChoice { token: None, ..remote("a:1") }).unwrap_err();
        assert_eq!(error.code, ErrorCode::TokenInvalid);
        assert!(error.message.contains("--token") && error.message.contains("JACO_TOKEN"));
        let error = chosen(RemoteChoice { token: Some("secret".into()), ..remote("a:1") }).unwrap_err();
        assert!(error.code == ErrorCode::TokenInvalid && !error.message.contains("secret"), "{error}");
        let certificate = Some(("c".into(), "k".into()));
        let by_certificate = RemoteChoice { token: None, certificate: certificate.clone(), ..remote("a:1") };
        assert!(matches!(chosen(by_certificate).unwrap().login, Login::Certificate { .. }));
        let both = chosen(RemoteChoice { certificate, ..remote("a:1") }).unwrap();
        assert!(matches!(both.login, Login::Token(_)), "a token was given for this command");
    }

    #[test]
    fn there_is_always_an_authority() {
        let file = |remote: Remote| match remote.trust {
            RemoteTrust::File(path, fingerprint) => (path.display().to_string(), fingerprint.is_some()),
            RemoteTrust::Fingerprint(_) => panic!("a fingerprint"),
        };
        assert_eq!(file(chosen(remote("a:1")).unwrap()), (DEFAULT_CA_CERT.to_owned(), false));
        let empty = RemoteChoice { ca_cert: Some("".into()), ..remote("a:1") };
        assert_eq!(file(chosen(empty).unwrap()), (String::new(), false));
        let pinned = RemoteChoice { ca_fingerprint: Some("cd".repeat(32)), ..remote("a:1") };
        assert!(matches!(chosen(pinned.clone()).unwrap().trust, RemoteTrust::Fingerprint(_)));
        let both = RemoteChoice { ca_cert: Some("/ca".into()), ..pinned };
        assert_eq!(file(chosen(both).unwrap()), ("/ca".to_owned(), true));
        let wrong = RemoteChoice { ca_fingerprint: Some("cd".into()), ..remote("a:1") };
        assert_eq!(chosen(wrong).unwrap_err().code, ErrorCode::Usage);
    }
}
