//! What the router is asked, counted by its kernel, whether anybody hears it or not.

use super::router::Router;

/// How many requests came from the LAN, of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// For the external address.
    pub questions: u64,
    /// To map, or to renew.
    pub mappings: u64,
    /// To delete.
    pub deletions: u64,
}

impl Asked {
    /// All of them.
    #[must_use]
    pub fn all(self) -> u64 {
        self.questions + self.mappings + self.deletions
    }
}

impl Router {
    /// Counts what it is asked, from now on and from zero.
    ///
    /// # Panics
    /// If `nft` refuses.
    pub fn count_requests(&self) {
        // The second byte says what is asked for; a deletion asks for a lifetime of 0.
        self.nft(
            "add table inet asked; delete table inet asked;
             table inet asked {
                counter questions { }
                counter mappings { }
                counter deletions { }
                chain requests {
                    @th,72,8 0 counter name questions return
                    @th,128,32 0 counter name deletions return
                    counter name mappings
                }
                chain input {
                    type filter hook input priority -10; policy accept;
                    iifname \"lan0\" udp dport 5351 jump requests
                }
             }",
        );
    }

    /// What it was asked since [`Router::count_requests`].
    ///
    /// # Panics
    /// If it does not count, or `nft` refuses.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let listed = self.try_nft("list counters table inet asked").unwrap_or_else(|error| panic!("{error}"));
        let count = |name: &str| {
            let text = listed.split_once(&format!("counter {name} ")).and_then(|(_, rest)| rest.split_once("packets "));
            text.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).expect("it is counted")
        };
        Asked { questions: count("questions"), mappings: count("mappings"), deletions: count("deletions") }
    }
}
