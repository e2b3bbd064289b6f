//! What a client and a server do on every adapter: each behaviour is one function over [`Adapter`], and
//! [`on_each_adapter!`] makes a test of it for each.
//!
//! The traits have the methods of `natpmp_std`, which block; `natpmp_smol` blocks on its futures, with a thread for the driver.
//! Whatever one adapter alone promises is tested beside that adapter.

mod client;
mod on_smol;
mod on_std;
mod server;

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

pub use client::{Announcements, ClientSetup, ClientUnderTest, KeptUnderTest, SubscriptionUnderTest, listening};
pub use on_smol::Smol;
pub use on_std::Std;
pub use server::{ServerSetup, ServerUnderTest};

/// A client and a server of one adapter.
pub trait Adapter {
    type Client: ClientUnderTest;
    type Server: ServerUnderTest;
}

/// Makes tests of functions without parameters that are generic over an [`Adapter`]: `on_std::NAME` and `on_smol::NAME`.
#[macro_export]
macro_rules! on_each_adapter {
    ($($(#[$attribute:meta])* $behaviour:ident),+ $(,)?) => {
        mod on_std {
            $($(#[$attribute])* #[test] fn $behaviour() { $crate::run(super::$behaviour::<$crate::Std>); })+
        }
        mod on_smol {
            $($(#[$attribute])* #[test] fn $behaviour() { $crate::run(super::$behaviour::<$crate::Smol>); })+
        }
    };
}

/// Runs a behaviour; one that hangs fails, and does not hold up the others.
///
/// # Panics
/// If the behaviour does, or takes longer than [`LONGEST`].
pub fn run(behaviour: fn()) {
    let (ending, ended) = mpsc::channel::<()>();
    let test = thread::Builder::new().name(thread::current().name().unwrap_or_default().to_owned());
    let running = test.spawn(move || {
        let _ending = ending;
        behaviour();
    });
    if ended.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
        panic!("it hangs: it is not over after {LONGEST:?}");
    }
    if let Err(panic) = running.expect("a thread").join() {
        resume_unwind(panic);
    }
}

/// Shorter than [`Schedule::RFC`](natpmp_proto::Schedule::RFC), and far longer than any behaviour takes.
pub const LONGEST: Duration = Duration::from_secs(100);
