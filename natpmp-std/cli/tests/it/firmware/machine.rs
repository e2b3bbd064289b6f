//! Boards that QEMU makes up, on the links of the lab.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use natpmp_lab::{Host, Lab, Running};

/// The images, where there are any.
#[derive(Clone, Debug)]
pub(crate) struct Firmware {
    directory: PathBuf,
}

impl Firmware {
    /// The images, or `None` after saying why there are none.
    pub(crate) fn or_skip() -> Option<Self> {
        let firmware = std::env::var_os("NATPMP_FIRMWARE").map(|directory| Self { directory: directory.into() });
        let reason = "NATPMP_FIRMWARE does not say where the images are: see natpmp-proto/examples/firmware/README.md";
        if firmware.is_none() {
            assert!(std::env::var("NATPMP_REQUIRE_LAB").as_deref() != Ok("1"), "{reason}");
            // Not `println!`, which the test harness swallows.
            let _ = writeln!(std::io::stdout(), "skipped: {reason}");
        }
        firmware
    }

    /// The same with a lab.
    pub(crate) fn with_lab_or_skip(programs: &[&str]) -> Option<(Self, Lab)> {
        let firmware = Self::or_skip()?;
        let programs: Vec<&str> = ["qemu-system-arm"].iter().chain(programs).copied().collect();
        Some((firmware, Lab::or_skip_with(1, &programs)?))
    }

    /// Where an image is.
    pub(crate) fn image(&self, name: &str) -> String {
        let image = self.directory.join(name);
        assert!(image.is_file(), "{}: build-for-the-lab.sh makes it", image.display());
        image.to_str().unwrap().to_owned()
    }

    /// Starts a board on a host that has a [`socket`] for it.
    pub(crate) fn boot(&self, name: &str, host: &Host) -> Running {
        let network = "tap,id=net,ifname=board0,script=no,downscript=no";
        host.spawn("sh", &[RUN, &self.image(name), "-netdev", network, "-net", "nic,model=stellaris,netdev=net"])
    }

    /// Starts a board without a network.
    pub(crate) fn boot_alone(&self, name: &str) -> Running {
        let mut command = Command::new("sh");
        command.args([RUN, &self.image(name), "-net", "none"]);
        Running::spawn(command)
    }
}

/// Puts a board in the place of the lab's client: the client gives its address up, and its end of the cable to the board.
pub(crate) fn replace(client: &Host) {
    client.ip(&["address", "flush", "dev", "eth0"]);
    client.ip(&["link", "add", "switch", "type", "bridge", "stp_state", "0", "forward_delay", "0"]);
    client.ip(&["link", "set", "eth0", "master", "switch"]);
    socket(client, "switch");
    client.ip(&["link", "set", "switch", "up"]);
}

/// Gives a host a socket for a board, on one of its bridges.
pub(crate) fn socket(host: &Host, bridge: &str) {
    host.ip(&["tuntap", "add", "dev", "board0", "mode", "tap"]);
    host.ip(&["link", "set", "board0", "master", bridge, "up"]);
}

pub(crate) const RUN: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../natpmp-proto/examples/firmware/run-in-qemu.sh");
