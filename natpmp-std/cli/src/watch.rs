//! `natpmp watch`: announcements as they come.

use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread;

use natpmp_std::Announcement;

use crate::args::Global;
use crate::failure::Failure;
use crate::once::gateway_of;
use crate::report::{Line, Report, note};
use crate::signals;

pub fn watch(global: &Global, report: &mut Report) -> Result<(), Failure> {
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
    thread::spawn(move || announcements.map(Some).try_for_each(|heard| sender.send(heard)));
    note(&format!("listening for announcements of {}", gateway.ip()));
    for heard in messages.iter().map_while(|message| message) {
        tell(report, &heard);
        if report.is_closed {
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

pub fn tell(report: &mut Report, heard: &Announcement) {
    let line = Line {
        epoch: heard.epoch,
        external_address: heard.external_address,
        ..Line::new("announcement", heard.gateway)
    };
    let text = match (heard.external_address, heard.epoch) {
        (Some(address), Some(epoch)) => {
            format!(
                "{} announces: external address {address}, {epoch} s since it lost its mappings",
                heard.gateway.ip()
            )
        }
        _ => format!("{} announces that it restarted (by PCP)", heard.gateway.ip()),
    };
    report.result(&line, &text);
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
