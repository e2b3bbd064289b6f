//! The file that holds a gateway's state: its epoch and its mappings.
//!
//! It is text, a line each, and ends with the count of mappings and a checksum over all that comes before, so that a
//! file that was cut or changed is known for what it is. It is replaced as a whole.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use natpmp_proto::Protocol;
use natpmp_proto::gateway::NatMapping;

/// What the state file holds: the mappings and the epoch of a gateway at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// When that was, in seconds since 1970.
    pub saved_at: u64,
    /// The epoch then, in seconds (RFC 6886, section 3.6).
    pub epoch: u32,
    /// Whether the gateway wrote this when it ended. If not, it may have granted mappings that are not in here.
    pub is_final: bool,
    /// The mappings at that time.
    pub mappings: Vec<StoredMapping>,
}

/// A mapping in a state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredMapping {
    /// The mapping.
    pub mapping: NatMapping,
    /// When its lease ends, in seconds since 1970.
    pub expires_at: u64,
}

impl StoredState {
    /// An empty table whose epoch begins now.
    pub(super) fn now() -> Self {
        Self { saved_at: unix_time(), ..Self::default() }
    }

    /// The epoch to start with now. It begins at 0 if clients may have mappings that are not in here, so that they ask again.
    pub(super) fn epoch_now(&self) -> u32 {
        if !self.is_final {
            return 0;
        }
        let away = unix_time().saturating_sub(self.saved_at);
        self.epoch.saturating_add(u32::try_from(away).unwrap_or(u32::MAX))
    }

    /// Reads the text of a state file.
    ///
    /// # Errors
    /// [`StateError::Damaged`] with the line that does not fit.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        let damaged = |line: usize, what: &str| StateError::Damaged { line, what: what.to_owned(), kept_as: None };
        let mut state = Self::default();
        let mut checksum = Checksum::new();
        let mut lines = text.split_inclusive('\n');
        if lines.next() != Some(HEADER) {
            return Err(damaged(1, "not the header of a natpmp state"));
        }
        checksum.add(HEADER);
        let header = lines.next().unwrap_or_default();
        let saved = words(header).and_then(|words| match words[..] {
            ["saved", saved_at, "epoch", epoch, ref end @ ..] if matches!(end, [] | [FINAL]) => {
                Some((parse_number(saved_at)?, parse_number(epoch)?, !end.is_empty()))
            }
            _ => None,
        });
        (state.saved_at, state.epoch, state.is_final) = saved.ok_or_else(|| damaged(2, "not a time and an epoch"))?;
        checksum.add(header);
        for line in lines {
            let at = state.mappings.len().saturating_add(3);
            let words = words(line).ok_or_else(|| damaged(at, "the file was cut here"))?;
            if let ["end", count, sum] = words[..] {
                let is_whole = parse_number(count) == Some(state.mappings.len() as u64) && sum == checksum.to_string();
                let has_more = text.lines().count() > at;
                return if is_whole && !has_more { Ok(state) } else { Err(damaged(at, "the checksum is another one")) };
            }
            let mapping = parse_mapping(&words).ok_or_else(|| damaged(at, "not a mapping"))?;
            state.mappings.push(mapping);
            checksum.add(line);
        }
        Err(damaged(state.mappings.len().saturating_add(3), "the end is missing"))
    }

    /// Reads the file; `None` if there is none. It renames a damaged file to its name and `.damaged`.
    ///
    /// # Errors
    /// [`StateError::Io`] if it cannot be read, [`StateError::Damaged`] if it is not what was written.
    pub fn load(path: &Path) -> Result<Option<Self>, StateError> {
        let fail = |error| StateError::Io { path: path.to_owned(), error };
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(fail)?,
        };
        match Self::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(state) => Ok(Some(state)),
            Err(StateError::Damaged { line, what, .. }) => {
                let aside = beside(path, ".damaged");
                fs::rename(path, &aside).map_err(fail)?;
                Err(StateError::Damaged { line, what, kept_as: Some(aside) })
            }
            Err(other) => Err(other),
        }
    }

    /// Replaces the file, in one step.
    ///
    /// # Errors
    /// [`StateError::Io`]; the file is as it was then.
    pub fn save(&self, path: &Path) -> Result<(), StateError> {
        // Every process uses the same name, so that it replaces what a process left that was killed while it wrote.
        let temporary = beside(path, ".new");
        let written = write(&temporary, &self.to_string()).and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            // It may not be there.
            let _ = fs::remove_file(&temporary);
            StateError::Io { path: path.to_owned(), error }
        })
    }
}

/// The text of the file.
impl fmt::Display for StoredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from(HEADER);
        let end = if self.is_final { format!(" {FINAL}") } else { String::new() };
        writeln!(text, "saved {} epoch {}{end}", self.saved_at, self.epoch)?;
        for StoredMapping { mapping, expires_at } in &self.mappings {
            let NatMapping { protocol, internal, external_port } = mapping;
            writeln!(text, "{protocol} {internal} {external_port} {expires_at}")?;
        }
        let mut checksum = Checksum::new();
        checksum.add(&text);
        writeln!(text, "end {} {checksum}", self.mappings.len())?;
        f.write_str(&text)
    }
}

/// Why a state could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum StateError {
    /// The system refused.
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// It is not what was written. Nothing of it was used.
    Damaged {
        /// The line that does not fit, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
        /// Where the file was moved.
        kept_as: Option<PathBuf>,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "cannot read or write the state in {}: {error}", path.display()),
            Self::Damaged { line, what, kept_as } => {
                write!(f, "the state is damaged at line {line} ({what}), and was not used")?;
                match kept_as {
                    Some(path) => write!(f, "; it is kept as {}: start again to go on without it", path.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Damaged { .. } => None,
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// The words of a line; `None` if the line was cut, and has no end.
fn words(line: &str) -> Option<Vec<&str>> {
    line.strip_suffix('\n').map(|line| line.split(' ').collect())
}

fn parse_mapping(words: &[&str]) -> Option<StoredMapping> {
    let [protocol, internal, external_port, expires_at] = *words else { return None };
    let protocol = Protocol::ALL.into_iter().find(|known| known.to_string() == protocol)?;
    let internal = SocketAddrV4::from_str(internal).ok()?;
    let mapping = NatMapping { protocol, internal, external_port: parse_number(external_port)? };
    let is_real = mapping.external_port != 0 && internal.port() != 0 && *internal.ip() != Ipv4Addr::UNSPECIFIED;
    Some(StoredMapping { mapping, expires_at: parse_number(expires_at)? }).filter(|_| is_real)
}

/// Parses a number that is spelled as this file spells it, and in no other way.
fn parse_number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// Writes a new file that only its owner may read. It never follows a link that somebody has put there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = match create(path) {
        // An earlier process was killed while it wrote.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path).and_then(|()| create(path))?
        }
        result => result?,
    };
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// FNV-1a of 64 bits: against accidents, not against forgers.
struct Checksum(u64);

impl Checksum {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

const HEADER: &str = "natpmp gateway state 1\n";
/// At the end of the second line, when the gateway has ended.
const FINAL: &str = "final";

#[cfg(test)]
mod tests;
