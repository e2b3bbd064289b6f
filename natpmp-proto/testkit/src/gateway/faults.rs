//! How a gateway misbehaves: each option is a fault met in practice.

use std::time::Duration;

/// The faults of a gateway, each of which a test may turn on. The default is a gateway as RFC 6886 wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Whether there is anybody to hear.
    pub reach: Reach,
    /// The result that every request to map gets, if it is not served.
    pub refuse_map: Option<u16>,
    /// The result that every deletion gets, if it is not served.
    pub refuse_unmap: Option<u16>,
    /// The result that every question for the external address gets, if it is not served.
    pub refuse_address: Option<u16>,
    /// What every request gets instead of an answer: a gateway that speaks another version.
    pub version_error: Option<VersionError>,
    /// How long an answer with a result other than 0 is.
    pub failure_form: FailureForm,
    /// The lifetime that is granted.
    pub grant: Grant,
    /// The external port of a grant is 0.
    pub grants_port_zero: bool,
    /// Every renewal brings another external port.
    pub moves_ports: bool,
    /// Only every so many-th request is answered, counted from the first; 1 answers all.
    pub answers_every: u32,
    /// How late an answer is.
    pub delay: Duration,
    /// How often an answer is sent again.
    pub repeats: u32,
    /// Another suggestion for a mapped internal port makes a second mapping (miniupnpd).
    pub maps_twice: bool,
    /// The deletion of all mappings of one protocol takes the other protocol's as well (miniupnpd).
    pub unmaps_both: bool,
    /// Internal port 0 with a lifetime is a request for a mapping (a large VPN provider).
    pub vpn: Option<Vpn>,
    /// The epoch is the uptime of the machine: it hides a restart (miniupnpd with `system_uptime`).
    pub epoch_is_uptime: bool,
    /// What is announced after a restart or a change of address.
    pub announces: Announces,
}

/// Whether there is anybody to hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Requests are served.
    #[default]
    Open,
    /// Requests vanish.
    Silent,
    /// Nothing listens on the port: requests cause port unreachable.
    Closed,
}

/// How a gateway says that it does not speak version 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionError {
    /// 8 bytes, opcode 128, as the RFC has it.
    Opcode128,
    /// 8 bytes, opcode 0 (erratum 3618).
    Opcode0,
    /// 8 bytes, 128 and the opcode that was asked.
    Opcode128Plus,
    /// 24 bytes of PCP under a NAT-PMP version byte: reads as a network failure.
    PcpUnderVersion0,
    /// 24 bytes of PCP: version 2, unsupported version.
    Pcp,
}

/// How long an answer with a result other than 0 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureForm {
    /// As the RFC has it: ports and lifetime 0.
    #[default]
    Full,
    /// Full, with the ports and the lifetime that were asked for (miniupnpd).
    Echo,
    /// 8 bytes: it ends after the epoch.
    Short,
    /// 4 bytes: it ends after the result.
    Shortest,
}

/// The lifetime that is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// As asked.
    #[default]
    Asked,
    /// As asked, but no longer than this.
    AtMost(u32),
    /// This, whatever was asked.
    Exactly(u32),
}

/// How a VPN's gateway fills in the internal port of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vpn {
    /// 0, as asked.
    AnswersZero,
    /// The mapped port, as in the external port.
    AnswersMapped,
}

/// What is announced after a restart or a change of address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announces {
    /// Nothing.
    #[default]
    Nothing,
    /// Ten announcements with doubling gaps, from 250 ms on (section 3.2.1).
    NatPmp,
    /// One ANNOUNCE of PCP (miniupnpd).
    Pcp,
}

impl Faults {
    /// The gateway that most people meet, as it is when built with PCP and run with `system_uptime`.
    #[must_use]
    pub fn miniupnpd() -> Self {
        Self {
            failure_form: FailureForm::Echo,
            maps_twice: true,
            unmaps_both: true,
            epoch_is_uptime: true,
            announces: Announces::Pcp,
            ..Self::default()
        }
    }

    /// A large VPN provider's gateway: internal port 0, 60 s at most.
    #[must_use]
    pub fn vpn(answers: Vpn) -> Self {
        Self { vpn: Some(answers), grant: Grant::AtMost(60), ..Self::default() }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            reach: Reach::Open,
            refuse_map: None,
            refuse_unmap: None,
            refuse_address: None,
            version_error: None,
            failure_form: FailureForm::Full,
            grant: Grant::Asked,
            grants_port_zero: false,
            moves_ports: false,
            answers_every: 1,
            delay: Duration::ZERO,
            repeats: 0,
            maps_twice: false,
            unmaps_both: false,
            vpn: None,
            epoch_is_uptime: false,
            announces: Announces::Nothing,
        }
    }
}

impl Grant {
    pub(super) fn lifetime(self, asked: u32) -> u32 {
        match self {
            Self::Asked => asked,
            Self::AtMost(most) => asked.min(most),
            Self::Exactly(lifetime) => lifetime,
        }
    }
}
