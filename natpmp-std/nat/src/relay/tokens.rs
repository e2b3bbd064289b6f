use mio::Token;

/// Gives out names for sockets, each unlike the last many: what happened on a socket that is closed is never taken for
/// another's.
#[derive(Debug)]
pub(super) struct Tokens {
    last: usize,
}

impl Tokens {
    pub(super) const fn new() -> Self {
        Self { last: 0 }
    }

    /// A free one, always even: the next odd one is its companion.
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

/// The even one of a pair.
pub(super) const fn first_of_pair(token: Token) -> Token {
    Token(token.0 & !1)
}

pub(super) const fn companion(token: Token) -> Token {
    Token(token.0 | 1)
}

pub(super) const WAKE: Token = Token(0);
