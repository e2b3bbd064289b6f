//! A systemd that runs on a host of the lab, in namespaces of its own, from a copy of this machine's files that is thrown away.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use natpmp_lab::{Host, Lab, Running, wait_until};

use super::files::{KEEP, SERVE, path};
use super::{NATPMP, SOON, said, skip};

/// Ended when it is dropped.
pub(crate) struct Machine {
    init: Option<Running>,
    pid: u32,
    cgroup: String,
}

/// A lab whose hosts can be booted.
pub(crate) fn lab_or_skip() -> Option<Lab> {
    let lab = Lab::or_skip_with(1, &["unshare", "nsenter", "setpriv", "systemctl"])?;
    if Path::new(SYSTEMD).exists() {
        Some(lab)
    } else {
        skip("systemd is not installed");
        None
    }
}

impl Machine {
    /// Boots `host` with the units installed as the README says, and these files besides.
    pub(crate) fn boot_or_skip(lab: &Lab, host: &Host, files: &[(&str, &str)]) -> Option<Self> {
        let staging = lab.directory().join(format!("{}-files", host.namespace()));
        let stage = |path: &str| -> PathBuf {
            let path = staging.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for unit in [KEEP, SERVE] {
            std::fs::copy(path(unit), stage(&format!("/etc/systemd/system/{unit}"))).unwrap();
        }
        std::fs::copy(NATPMP, stage("/usr/local/bin/natpmp")).unwrap();
        for (path, text) in files {
            std::fs::write(stage(path), text).unwrap();
        }
        let (pid_file, log) = (lab.directory().join(format!("{}.pid", host.namespace())), lab.directory().join("boot"));
        let cgroup = format!("natpmp-service-{}", host.namespace());
        let mut command = Command::new("sh");
        command.args(["-c", OUTSIDE, "sh", &cgroup, host.namespace(), INSIDE]);
        command.args([staging.as_os_str(), pid_file.as_os_str(), log.as_os_str()]);
        let init = Running::spawn(command);
        let mut machine = Self { init: Some(init), pid: 0, cgroup };
        let has_pid = || {
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            machine.pid = text.trim().parse().unwrap_or(0);
            machine.pid != 0
        };
        let is_started = wait_until(SOON, has_pid);
        let is_up = is_started && wait_until(SOON, || machine.try_systemctl(&["is-active", "basic.target"]).0);
        let complaints = machine.init.as_ref().map(Running::complaints);
        if is_up {
            Some(machine)
        } else {
            skip(&format!("systemd does not come up in namespaces: {complaints:?}"));
            None
        }
    }

    /// Runs a command on this machine, as an administrator would.
    pub(crate) fn run(&self, command: &[&str]) -> (bool, String) {
        // A service that does not get ready is waited for without end.
        let mut nsenter = Command::new("timeout");
        nsenter.args(["20", "nsenter", "--target", &self.pid.to_string(), "--all", "--"]).args(command);
        said(nsenter.env_remove("NOTIFY_SOCKET"))
    }

    pub(crate) fn try_systemctl(&self, arguments: &[&str]) -> (bool, String) {
        self.run(&[&["systemctl", "--no-pager"], arguments].concat())
    }

    #[track_caller]
    pub(crate) fn systemctl(&self, arguments: &[&str]) {
        let (is_good, text) = self.try_systemctl(arguments);
        assert!(is_good, "systemctl {arguments:?}: {text}");
    }

    /// What systemd says of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.try_systemctl(&["show", "--value", "--property", name, unit]).1
    }

    /// Waits until this is what systemd says of a unit.
    #[track_caller]
    pub(crate) fn awaits(&self, unit: &str, name: &str, fits: impl Fn(&str) -> bool) {
        let is_so = wait_until(SOON, || fits(&self.property(unit, name)));
        assert!(is_so, "{unit}: {name} is {:?}\n{}", self.property(unit, name), self.describe(unit));
    }

    /// A line of `/proc/PID/status` of the unit's main process.
    pub(crate) fn status(&self, unit: &str, name: &str) -> String {
        let pid = self.property(unit, "MainPID");
        let (_, text) = self.run(&["cat", &format!("/proc/{pid}/status")]);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).trim().to_owned()
    }

    fn describe(&self, unit: &str) -> String {
        let mut text = String::new();
        for name in ["ActiveState", "SubState", "Result", "ExecMainStatus", "StatusText", "NRestarts"] {
            let _ = writeln!(text, "{name}={}", self.property(unit, name));
        }
        text
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its parent its first process ends, and with this one all others.
        drop(self.init.take());
        let removed = || {
            let mut sh = Command::new("sh");
            sh.args(["-c", REMOVE, "sh", &self.cgroup]).output().is_ok_and(|output| output.status.success())
        };
        // Those that ended leave theirs a moment later.
        let _ = wait_until(SOON, removed);
    }
}

/// Removes its control groups, and succeeds when there are none left.
const REMOVE: &str = r#"
left=0
for each in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -d "$each/$1" ]; then
        find "$each/$1" -depth -type d -exec rmdir {} \;
        if [ -d "$each/$1" ]; then left=1; fi
    fi
done
exit "$left"
"#;

/// In control groups of its own, on a host of the lab, in namespaces of its own.
const OUTSIDE: &str = r#"
set -e
cgroup=$1 host=$2 inside=$3
shift 3
for each in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e "$each/cgroup.procs" ]; then
        # A test run that was killed could not clean up after itself.
        for old in "$each"/natpmp-service-natpmp-lab-*; do
            pid=${old##*-lab-}
            if [ -d "$old" ] && [ ! -e "/proc/${pid%%-*}" ]; then
                find "$old" -depth -type d -exec rmdir {} \; 2>/dev/null || true
            fi
        done
        mkdir "$each/$cgroup"
        echo $$ > "$each/$cgroup/cgroup.procs"
    fi
done
layout=hybrid
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then layout=unified; fi
exec ip netns exec "$host" unshare --pid --fork --kill-child --mount --cgroup --uts --ipc \
    sh -c "$inside" sh "$layout" "$@"
"#;

/// The first process of the machine. What it changes is in memory only.
const INSIDE: &str = r#"
set -e
layout=$1 files=$2 pid_file=$3 new=$4
# Of the outer machine, whose /proc this still is.
read -r pid rest < /proc/self/stat
mount --make-rprivate /
mkdir "$new"
mount -t tmpfs tmpfs "$new"
mkdir "$new/upper" "$new/work" "$new/root"
mount -t overlay -o "lowerdir=/,upperdir=$new/upper,workdir=$new/work" overlay "$new/root"
cd "$new/root"

# Only what the units need is started.
rm -rf etc/systemd/system etc/natpmp
rm -rf lib/systemd/system/*.wants usr/lib/systemd/system/*.wants
mkdir -p etc/systemd/system
cp -r "$files/." .
rm -f etc/machine-id
echo 0123456789abcdef0123456789abcdef > etc/machine-id

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
if [ "$layout" = unified ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mkdir -p mnt
echo "$pid" > "$pid_file"
pivot_root . mnt
umount -l mnt
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target \
    --log-target=null --show-status=false
"#;

const SYSTEMD: &str = "/lib/systemd/systemd";
