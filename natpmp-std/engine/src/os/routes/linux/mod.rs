//! Linux: the kernel is asked; where that is forbidden, its main table is read as text.

pub(super) mod kernel;
pub(super) mod proc;

use super::DiscoverError;
use super::tables::RoutingTables;

pub(super) fn read() -> Result<RoutingTables, DiscoverError> {
    kernel::read().or_else(|error| {
        log::debug!("no answer by netlink ({error}): reading the main routing table");
        proc::read().map_err(DiscoverError::Unreadable)
    })
}

#[cfg(test)]
mod tests;
