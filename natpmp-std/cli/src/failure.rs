//! Why the command failed: an exit code, what was tried, and what to do next.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddrV4;

use natpmp_std::{Error, Protocol, Refusal};

/// Why the command failed. As text it is one line that says what was tried and what happened, and one that says what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    /// What was to be done, such as "cannot map udp 4000".
    tried: String,
    error: String,
    advice: Cow<'static, str>,
    pub(crate) gateway: Option<SocketAddrV4>,
    pub(crate) mapping: Option<(Protocol, u16)>,
}

impl Failure {
    /// What a client's error means to the command: `tried` is what was to be done, such as "cannot map udp 4000".
    pub fn new(tried: impl Into<String>, error: &Error) -> Self {
        let (code, advice) = classify(error);
        Self {
            code,
            tried: tried.into(),
            error: error.to_string(),
            advice: advice.into(),
            gateway: None,
            mapping: None,
        }
    }

    /// Anything that is not about the gateway.
    pub(crate) fn other(tried: impl Into<String>, error: impl fmt::Display, advice: &'static str) -> Self {
        let (tried, error) = (tried.into(), error.to_string());
        Self { code: OTHER, tried, error, advice: advice.into(), gateway: None, mapping: None }
    }

    /// A value that makes no sense.
    pub(crate) fn usage(tried: impl Into<String>, error: impl fmt::Display) -> Self {
        Self { code: USAGE, ..Self::other(tried, error, "") }
    }

    /// At this gateway.
    #[must_use]
    pub fn at(self, gateway: Option<SocketAddrV4>) -> Self {
        Self { gateway, ..self }
    }

    /// With the mapping of this protocol and internal port.
    #[must_use]
    pub fn of_mapping(self, protocol: Protocol, internal_port: u16) -> Self {
        Self { mapping: Some((protocol, internal_port)), ..self }
    }

    /// With advice that fits better than the error's own.
    pub(crate) fn advise(self, advice: String) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// The exit code of the program, one of those that its help lists.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        self.code
    }

    /// What happened, without what was tried and without advice.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.error
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.error)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.advice) }
    }
}

/// The exit code and the advice.
fn classify(error: &Error) -> (u8, &'static str) {
    match error {
        Error::NoAnswer { .. } => (
            NO_NAT_PMP,
            "Switch NAT-PMP on in the router (it may be listed with UPnP), check --gateway (behind a VPN it is often not \
             the default route's), or wait longer with --timeout.",
        ),
        Error::PortUnreachable { .. } => (
            NO_NAT_PMP,
            "Switch NAT-PMP on in the router (it may be listed with UPnP), or check --gateway: behind a VPN it is often \
             not the default route's.",
        ),
        Error::Refused { refusal: Some(refusal), .. } => match refusal {
            Refusal::UnsupportedVersion | Refusal::UnsupportedOpcode => {
                (NO_NAT_PMP, "Ask another gateway with --gateway, or use a router that speaks NAT-PMP.")
            }
            Refusal::NotAuthorized => {
                (REFUSED, "Ask for another port with --external, or allow it in the router's settings for NAT-PMP.")
            }
            Refusal::NetworkFailure => (
                NO_NETWORK,
                "Check that the router itself is online. Some refuse while their own external address is private.",
            ),
            Refusal::OutOfResources => {
                (OUT_OF_RESOURCES, "Ask for another port with --external, or delete mappings that are not needed.")
            }
            _ => (OTHER_ANSWER, "Look this result up in the router's documentation, or try again with -v."),
        },
        Error::Refused { .. } => (OTHER_ANSWER, "Ask for another port with --external, or for another --lifetime."),
        Error::NetworkDown { .. } => {
            (NO_GATEWAY, "Bring the network up, or choose another way out with --interface, --bind or --gateway.")
        }
        Error::Discover(_) => (NO_GATEWAY, "Name the gateway with --gateway ADDR."),
        Error::BadArgument(_) => (USAGE, ""),
        _ => (OTHER, ""),
    }
}

pub(crate) const OTHER: u8 = 1;
const USAGE: u8 = 2;
const NO_NAT_PMP: u8 = 3;
const REFUSED: u8 = 4;
const NO_NETWORK: u8 = 5;
const OUT_OF_RESOURCES: u8 = 6;
const OTHER_ANSWER: u8 = 7;
const NO_GATEWAY: u8 = 8;

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_error_has_the_exit_code_of_the_help() {
        let gateway = SocketAddrV4::new([192, 168, 1, 1].into(), 5351);
        let refused = |code| Error::Refused { gateway, refusal: Refusal::from_code(code) };
        for (error, code) in [
            (Error::NoAnswer { gateway, waited: Duration::from_secs(2) }, 3),
            (Error::PortUnreachable { gateway }, 3),
            (refused(1), 3),
            (refused(5), 3),
            (refused(2), 4),
            (refused(3), 5),
            (refused(4), 6),
            (refused(6), 7),
            (refused(65_535), 7),
            (refused(0), 7),
            (Error::NetworkDown { gateway, kind: ErrorKind::NetworkUnreachable, os_error: None }, 8),
            (Error::Discover(natpmp_std::DiscoverError::NoDefaultRoute), 8),
            (Error::Stopped, 1),
        ] {
            assert_eq!(Failure::new("cannot", &error).code, code, "{error}");
        }
    }

    #[test]
    fn an_error_says_who_was_asked_for_how_long_and_what_to_do() {
        let gateway = SocketAddrV4::new([192, 168, 1, 1].into(), 5351);
        let error = Error::NoAnswer { gateway, waited: Duration::from_millis(7_750) };
        let text = Failure::new("cannot map udp 4000", &error).to_string();
        for part in ["cannot map udp 4000", "192.168.1.1:5351", "7.8 s", "--timeout"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
