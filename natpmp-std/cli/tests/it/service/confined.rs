//! The command line of the unit as an ordinary user without any privilege, who sees the files read-only.

use std::os::unix::fs::{PermissionsExt, chown};

use natpmp_lab::{Lab, Protocol, Running, echo, wait_until};

use super::files::{KEEP, Unit};
use super::{NATPMP, SOON};

#[test]
fn the_unit_takes_no_privilege_and_one_directory() {
    let Some(lab) = Lab::or_skip_with(1, &["setpriv", "unshare"]) else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let runtime = lab.directory().join("runtime");
    std::fs::create_dir(&runtime).unwrap();
    chown(&runtime, Some(NOBODY), Some(NOBODY)).unwrap();
    let unit = Unit::read(KEEP, "vpn");
    let mode = u32::from_str_radix(unit.get("RuntimeDirectoryMode"), 8).unwrap();
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(mode)).unwrap();
    let port = || std::fs::read_to_string(runtime.join("port")).unwrap_or_default();

    // The second time finds what the first one left.
    for _ in 0..2 {
        let mut running = start(&lab, &unit, &["udp", "4000", "--external", "5000", "--interface", "eth0"]);
        running.line(SOON, |line| line.starts_with("udp 4000 is open at "));
        assert!(wait_until(SOON, || port() == "5000\n"));
        assert!(lab.leads_to_client(Protocol::Udp, 5000));
        running.terminate();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        assert!(finished.stderr.iter().all(|line| !line.contains("warning")), "{finished}");
        assert_eq!(port(), "");
        assert_eq!(lab.router().mappings(), Vec::<String>::new());
    }

    // Elsewhere nothing can be written.
    let elsewhere = start(&lab, &unit, &["udp", "4000", "--on-change", "touch /tmp/natpmp-service-test /var/tmp/x"]);
    assert!(wait_until(SOON, || elsewhere.complaints().iter().any(|line| line.contains("Read-only file system"))));
    elsewhere.terminate();
    assert_eq!(elsewhere.finish(SOON).code, Some(0));
}

fn start(lab: &Lab, unit: &Unit, arguments: &[&str]) -> Running {
    let words = unit.command_line(arguments);
    assert_eq!(words[0], "/usr/local/bin/natpmp");
    let directory = format!("/run/{}", unit.get("RuntimeDirectory"));
    let mut command = lab.client().command("unshare");
    command.args(["--mount", "sh", "-c", READ_ONLY, "sh", NATPMP, &directory]).arg(lab.directory().join("runtime"));
    command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
    command.args(["--bounding-set=-all", "--inh-caps=-all", "/usr/local/bin/natpmp"]).args(&words[1..]);
    Running::spawn(command)
}

/// All file systems read-only, but for the directory that the unit has.
const READ_ONLY: &str = r#"
set -e
natpmp=$1 directory=$2 runtime=$3
shift 3
mount -t tmpfs tmpfs /usr/local/bin
cp "$natpmp" /usr/local/bin/natpmp
mount --bind "$runtime" /mnt
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$directory"
mount --bind /mnt "$directory"
umount /mnt
for each in $(awk '{ print $2 }' /proc/self/mounts); do
    # What is hidden by now cannot be mounted again, nor seen.
    [ "$each" = "$directory" ] || mount -o remount,bind,ro "$each" 2>/dev/null || true
done
exec "$@"
"#;

const NOBODY: u32 = 65_534;
