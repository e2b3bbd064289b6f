//! The subcommand `watch`: announcements as they come.

use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread;

use crate::args::Global;
use crate::failure::Failure;
use crate::once::gateway_of;
use crate::report::Report;
use crate::signals;

/// Reports what the gateway announces until a signal comes, or nobody reads it any more.
pub(crate) fn watch(global: &Global, report: &mut Report) -> Result<(), Failure> {
    let gateway = gateway_of(global)?;
    let fail = |error: &natpmp_std::Error| Failure::new("cannot watch", error).at(Some(gateway));
    let client = global.builder().gateway(gateway).build().map_err(|error| fail(&error))?;
    if let Some(error) = client.announcement_error() {
        return Err(Failure::other("cannot hear announcements", &error, advice(error.kind())).at(Some(gateway)));
    }
    let (sender, messages) = mpsc::sync_channel(signals::MOST_WAITING);
    let interrupted = sender.clone();
    signals::on_stop(move || signals::deliver(&interrupted, None))
        .map_err(|error| Failure::other("cannot catch signals", error, ""))?;
    let announcements = client.announcements();
    thread::spawn(move || announcements.map(Some).try_for_each(|announcement| sender.send(announcement)));
    report.note(&format!("listening for announcements of {}", gateway.ip()));
    for announcement in messages.iter().map_while(|message| message) {
        report.announcement(&announcement);
        if report.is_closed() {
            break;
        }
    }
    Ok(())
}

const fn advice(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::AddrInUse => "Another program holds UDP port 5350 for itself: stop it.",
        _ => "Check that the interface is up, and what --interface and --bind name.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_is_taken_is_blamed_on_another_program() {
        assert!(advice(ErrorKind::AddrInUse).contains("5350"));
        for kind in [ErrorKind::Other, ErrorKind::NotFound, ErrorKind::PermissionDenied] {
            assert!(!advice(kind).contains("5350") && advice(kind).contains("--interface"));
        }
    }
}
