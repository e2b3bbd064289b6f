//! The order in which sockets are served: each that is ready has a turn of a bounded size, and comes again after all others.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use mio::{Registry, Token};

/// What a socket needs in its turn.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) registry: &'a Registry,
    pub(super) tokens: &'a mut Tokens,
    pub(super) now: Instant,
}

/// The sockets that have something to do, each once, in the order in which they became ready.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    queue: VecDeque<Token>,
    queued: HashSet<Token>,
}

impl ReadyQueue {
    pub(super) fn push(&mut self, token: Token) {
        if token != WAKE && self.queued.insert(token) {
            self.queue.push_back(token);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Token> {
        let token = self.queue.pop_front()?;
        self.queued.remove(&token);
        Some(token)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Numbers sockets, and does not use a number again for long, so that an event of a socket that is closed is not taken for
/// one of another socket.
#[derive(Debug)]
pub(super) struct Tokens {
    last: usize,
}

impl Tokens {
    pub(super) const fn new() -> Self {
        Self { last: 0 }
    }

    /// The next free token. It is even, and the odd one after it is its companion.
    pub(super) fn next(&mut self, is_taken: impl Fn(Token) -> bool) -> Token {
        loop {
            self.last = self.last.wrapping_add(2);
            let token = Token(self.last);
            if token != WAKE && !is_taken(token) {
                return token;
            }
        }
    }
}

/// The even token of a pair.
pub(super) const fn first_of_pair(token: Token) -> Token {
    Token(token.0 & !1)
}

/// The odd token of a pair.
pub(super) const fn companion(token: Token) -> Token {
    Token(token.0 | 1)
}

/// The token of the worker's waker.
pub(super) const WAKE: Token = Token(0);
