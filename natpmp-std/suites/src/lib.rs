//! What a client and a server do on every adapter: each behaviour is one function over [`Adapter`], and
//! [`on_each_adapter!`] makes a test of it for each.
//!
//! The traits have the methods of `natpmp_std`, which block; `natpmp_smol` blocks on its futures, with a thread for the driver.
//! Whatever one adapter alone promises is tested beside that adapter.

mod client;
mod on_smol;
mod on_std;
mod server;

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
            $($(#[$attribute])* #[test] fn $behaviour() { super::$behaviour::<$crate::Std>(); })+
        }
        mod on_smol {
            $($(#[$attribute])* #[test] fn $behaviour() { super::$behaviour::<$crate::Smol>(); })+
        }
    };
}
