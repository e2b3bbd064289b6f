use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

/// One direction of a TCP connection: what was read here and not yet written there.
///
/// It reads only when all is written: who reads slowly is sent to slowly.
#[derive(Debug)]
pub(super) struct Pipe {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Open,
    /// It has sent its last byte.
    Ended,
    /// And the other side knows.
    ToldSo,
}

impl Pipe {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; SIZE].into_boxed_slice(), start: 0, end: 0, source: Source::Open }
    }

    /// Whether nothing more will come through.
    pub(super) fn is_over(&self) -> bool {
        self.source == Source::ToldSo
    }

    /// Passes on what there is, but no more than a turn's worth. Whether there may be more.
    pub(super) fn pump(&mut self, mut source: &TcpStream, mut sink: &TcpStream) -> io::Result<bool> {
        for _ in 0..BUDGET {
            let moved = if self.start < self.end {
                let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
                sink.write(waiting).map(|written| self.start = self.start.saturating_add(written))
            } else {
                match self.source {
                    Source::Open => source.read(&mut self.buffer).map(|read| self.filled(read)),
                    Source::Ended => {
                        sink.shutdown(Shutdown::Write)?;
                        self.source = Source::ToldSo;
                        return Ok(false);
                    }
                    Source::ToldSo => return Ok(false),
                }
            };
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    fn filled(&mut self, read: usize) {
        (self.start, self.end) = (0, read);
        if read == 0 {
            self.source = Source::Ended;
        }
    }
}

const SIZE: usize = 16 * 1024;
/// Reads and writes in a turn.
const BUDGET: usize = 8;
