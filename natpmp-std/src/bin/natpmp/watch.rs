//! `natpmp watch`: announcements as they come.

use std::sync::mpsc;
use std::thread;

use natpmp_std::Announcement;

use crate::args::Global;
use crate::failure::Failure;
use crate::once::gateway_of;
use crate::report::{Line, Report, note};

pub(crate) fn watch(global: &Global, report: &mut Report) -> Result<(), Failure> {
    let gateway = gateway_of(global)?;
    let fail = |error: &natpmp_std::Error| Failure::new("cannot watch", error).at(Some(gateway));
    let client = global.builder().gateway(gateway).build().map_err(|error| fail(&error))?;
    if let Some(error) = client.announcement_error() {
        let advice = "Another program holds UDP port 5350 for itself: stop it.";
        return Err(Failure::other("cannot hear announcements", error, advice).at(Some(gateway)));
    }
    let (sender, messages) = mpsc::channel();
    let interrupted = sender.clone();
    let handler = move || {
        // Whoever would receive it has stopped already.
        let _ = interrupted.send(None);
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::other("cannot catch signals", error, ""))?;
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

fn tell(report: &mut Report, heard: &Announcement) {
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
