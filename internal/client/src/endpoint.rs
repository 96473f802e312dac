//! Which daemon to talk to, and how.

use std::path::PathBuf;

use jaco_types::{ErrorCode, UserError};

/// Where the daemon's control socket is unless somebody says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/jaco/jaco.sock";

/// What the user said about the transport, flags and environment already merged (a flag wins). Empty values count as not given.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// `--socket` or `JACO_SOCKET`.
    pub socket: Option<PathBuf>,
    /// `--server` or `JACO_SERVER`.
    pub server: Option<String>,
    /// `--context` or `JACO_CONTEXT`.
    pub context: Option<String>,
    /// `--token`. The environment's `JACO_TOKEN` is no reason to refuse: the socket needs no token.
    pub token: Option<String>,
    /// `--ca-cert` or `--ca-fingerprint`, by the flag's name.
    pub trust_flag: Option<&'static str>,
}

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// The control socket of the daemon on this machine.
    Socket(PathBuf),
}

impl Endpoint {
    /// Picks the transport. Everything that asks for a remote daemon is refused by name with `not_supported_yet`.
    pub fn choose(choice: &Choice) -> Result<Endpoint, UserError> {
        let remote = [
            ("--server (or JACO_SERVER)", choice.server.is_some()),
            ("--context (or JACO_CONTEXT)", choice.context.is_some()),
            ("--token", choice.token.is_some()),
            (choice.trust_flag.unwrap_or_default(), choice.trust_flag.is_some()),
        ];
        if let Some((flag, _)) = remote.into_iter().find(|(_, given)| *given) {
            return Err(UserError::new(
                ErrorCode::NotSupportedYet,
                format!(
                    "{flag} is not supported yet: remote access comes with clusters of several nodes; run jaco on a node, where it uses the control socket"
                ),
            )
            .with("flag", flag));
        }
        Ok(Endpoint::Socket(choice.socket.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_the_default_one_unless_given() {
        assert_eq!(Endpoint::choose(&Choice::default()).unwrap(), Endpoint::Socket(DEFAULT_SOCKET.into()));
        let choice = Choice { socket: Some("/tmp/a.sock".into()), ..Choice::default() };
        assert_eq!(Endpoint::choose(&choice).unwrap(), Endpoint::Socket("/tmp/a.sock".into()));
    }

    #[test]
    fn remote_access_is_refused_by_the_name_of_its_flag() {
        let remote = [
            (Choice { server: Some("a:7000".into()), ..Choice::default() }, "--server"),
            (Choice { context: Some("prod".into()), ..Choice::default() }, "--context"),
            (Choice { token: Some("t".into()), ..Choice::default() }, "--token"),
            (Choice { trust_flag: Some("--ca-cert"), ..Choice::default() }, "--ca-cert"),
        ];
        for (choice, flag) in remote {
            let error = Endpoint::choose(&choice).unwrap_err();
            assert_eq!(error.code, ErrorCode::NotSupportedYet);
            assert!(error.message.starts_with(flag), "{}", error.message);
            assert!(error.message.contains("run jaco on a node"));
        }
    }
}
