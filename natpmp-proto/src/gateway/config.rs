use core::fmt;

/// How a gateway behaves. Everything has a default, and can be a `const`.
///
/// ```
/// use natpmp_proto::gateway::{Config, PortRange};
///
/// const CONFIG: Config = Config::new().longest_lifetime(3_600).per_client(16);
/// let config = CONFIG.deny(PortRange::new(6881, 6889).expect("in order")).expect("room for 8 ranges");
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) shortest_lifetime: u32,
    pub(super) longest_lifetime: u32,
    pub(super) ports: PortRange,
    pub(super) denied: [Option<PortRange>; MOST_DENIED],
    pub(super) per_client: Option<u16>,
    pub(super) seed: u64,
}

impl Config {
    /// Leases of up to a day, external ports from 1024, half of the table but no more than 64 mappings for one client.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shortest_lifetime: 1,
            longest_lifetime: 86_400,
            ports: PortRange { low: 1_024, high: 65_535 },
            denied: [None; MOST_DENIED],
            per_client: None,
            seed: 0,
        }
    }

    /// The longest lease that is granted, in seconds, at least 1; 86,400 by default.
    #[must_use]
    pub const fn longest_lifetime(self, seconds: u32) -> Self {
        Self { longest_lifetime: if seconds == 0 { 1 } else { seconds }, ..self }
    }

    /// The shortest lease that is granted, in seconds; 1 by default, which is what the RFC wants: a client should not be granted
    /// more than it asked for (section 3.3). Never more than the longest.
    #[must_use]
    pub const fn shortest_lifetime(self, seconds: u32) -> Self {
        Self { shortest_lifetime: if seconds == 0 { 1 } else { seconds }, ..self }
    }

    /// The external ports that are given; 1024 to 65535 by default.
    #[must_use]
    pub const fn ports(self, ports: PortRange) -> Self {
        Self { ports, ..self }
    }

    /// External ports that are never given, although they are in the range: those of services on the gateway itself.
    ///
    /// # Errors
    /// [`TooManyRanges`] from the ninth on.
    pub const fn deny(mut self, range: PortRange) -> Result<Self, TooManyRanges> {
        let mut rest: &mut [Option<PortRange>] = &mut self.denied;
        while let [first, others @ ..] = rest {
            if first.is_none() {
                *first = Some(range);
                return Ok(self);
            }
            rest = others;
        }
        Err(TooManyRanges)
    }

    /// How many mappings one client may have, at least 1; by default half of the table, but no more than 64.
    #[must_use]
    pub const fn per_client(self, mappings: u16) -> Self {
        Self { per_client: Some(if mappings == 0 { 1 } else { mappings }), ..self }
    }

    /// What keeps clients from guessing which ports are given and how the table is laid out.
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Whether the administrator allows this external port.
    pub(super) fn allows(&self, port: u16) -> bool {
        port != 0 && self.ports.contains(port) && !self.denied.iter().flatten().any(|range| range.contains(port))
    }

    /// What is granted where `asked` is asked for, in seconds.
    pub(super) fn granted(&self, asked: u32) -> u32 {
        asked.max(self.shortest_lifetime).min(self.longest_lifetime)
    }

    pub(super) fn limit(&self, capacity: usize) -> u16 {
        let half = u16::try_from(capacity / 2).unwrap_or(u16::MAX);
        self.per_client.unwrap_or(half.clamp(1, MOST_FOR_ONE))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// External ports from a lowest to a highest, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PortRange {
    low: u16,
    high: u16,
}

impl PortRange {
    /// From `low` to `high`, both included; `None` if they are not in order.
    #[must_use]
    pub const fn new(low: u16, high: u16) -> Option<Self> {
        if low <= high { Some(Self { low, high }) } else { None }
    }

    /// Whether `port` is in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }

    /// The lowest port.
    #[must_use]
    pub const fn low(self) -> u16 {
        self.low
    }

    /// The highest port.
    #[must_use]
    pub const fn high(self) -> u16 {
        self.high
    }
}

/// A gateway holds no more than 8 ranges of denied ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooManyRanges;

impl fmt::Display for TooManyRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MOST_DENIED} ranges of denied ports: join some of them, or narrow the range of ports")
    }
}

impl core::error::Error for TooManyRanges {}

const MOST_DENIED: usize = 8;
const MOST_FOR_ONE: u16 = 64;
