//! The file that holds the external port.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::report::Notes;

/// True at every moment, but for the time that a replacement takes: a reader sees the old content or the new one, never
/// a part. Where it cannot be replaced it is written in place.
#[derive(Debug)]
pub(crate) struct PortFile {
    path: PathBuf,
    content: Option<String>,
    has_failed: bool,
    notes: Notes,
}

impl PortFile {
    /// Begins with an empty file, which shows at once whether it can be written.
    pub(crate) fn create(path: &Path, notes: &Notes) -> io::Result<Self> {
        let mut file = Self { path: path.to_owned(), content: None, has_failed: false, notes: notes.clone() };
        file.write(String::new())?;
        Ok(file)
    }

    /// `ports` has one entry for each protocol that is kept: the external port while it is open.
    pub(crate) fn set(&mut self, ports: &[Option<u16>]) {
        if let Err(error) = self.write(content(ports)) {
            if !std::mem::replace(&mut self.has_failed, true) {
                self.notes.warn(&format!("cannot write {}: {error}", self.path.display()));
            }
        } else {
            self.has_failed = false;
        }
    }

    fn write(&mut self, content: String) -> io::Result<()> {
        if self.content.as_ref() == Some(&content) {
            return Ok(());
        }
        self.replace(content.as_bytes())?;
        self.content = Some(content);
        Ok(())
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let temporary = self.temporary();
        let Err(error) = write_and_rename(&temporary, &self.path, content) else { return Ok(()) };
        // It may not exist.
        let _ = fs::remove_file(&temporary);
        // A file that is a mount point, as containers have them, can be written and not replaced; nor can one whose
        // directory is not to be written.
        let is_in_place = matches!(
            error.kind(),
            ErrorKind::ResourceBusy
                | ErrorKind::CrossesDevices
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::PermissionDenied
        );
        // What is no file, a pipe for one, is not opened: it could wait for ever.
        let is_file = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file());
        if is_in_place && is_file && write_in_place(&self.path, content).is_ok() { Ok(()) } else { Err(error) }
    }

    /// In the same directory, since a file can be renamed atomically only within one file system. The same for every process: what
    /// one left that was killed over it is the next one's to replace.
    fn temporary(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        self.path.with_file_name(name)
    }
}

fn write_and_rename(temporary: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    if path.is_dir() || path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory: name a file in it"));
    }
    let create = || fs::OpenOptions::new().write(true).create_new(true).open(temporary);
    let mut file = match create() {
        // Of an earlier process that was killed while it wrote.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::remove_file(temporary).and_then(|()| create())?,
        result => result?,
    };
    file.write_all(content)?;
    drop(file);
    fs::rename(temporary, path)
}

/// For a moment it is empty, as if there were no mapping.
fn write_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let named = fs::symlink_metadata(path)?;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    if !is_plain(&named, &file.metadata()?) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a link, or no file"));
    }
    file.set_len(0)?;
    file.write_all(content)
}

/// Whether what was opened is what bears the name itself, and has no other name: where others may make files, a link
/// could lead to one that is not theirs to write.
#[cfg(unix)]
fn is_plain(named: &fs::Metadata, opened: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |file: &fs::Metadata| (file.dev(), file.ino());
    opened.is_file() && opened.nlink() == 1 && identity(named) == identity(opened)
}

#[cfg(not(unix))]
fn is_plain(named: &fs::Metadata, opened: &fs::Metadata) -> bool {
    named.is_file() && opened.is_file()
}

/// Nothing unless all are open; then one line, or one for each protocol if the ports differ.
fn content(ports: &[Option<u16>]) -> String {
    let Some(ports) = ports.iter().copied().collect::<Option<Vec<u16>>>() else { return String::new() };
    let mut lines: Vec<String> = ports.iter().map(|port| format!("{port}\n")).collect();
    lines.dedup();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, Report};

    fn create(path: &Path) -> io::Result<PortFile> {
        PortFile::create(path, &Report::new(Format::Text, io::sink(), io::sink()).notes())
    }

    #[test]
    fn it_is_empty_unless_all_that_is_kept_is_open() {
        for (ports, expected) in [
            (&[None][..], ""),
            (&[Some(4000)], "4000\n"),
            (&[Some(4000), None], ""),
            (&[Some(4000), Some(4000)], "4000\n"),
            (&[Some(4000), Some(4001)], "4000\n4001\n"),
        ] {
            assert_eq!(content(ports), expected);
        }
    }

    #[test]
    fn it_is_replaced_and_no_other_file_is_left() {
        let directory = std::env::temp_dir().join(format!("natpmp-port-file-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("port");
        let mut file = create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        file.set(&[Some(4000)]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "4000\n");
        file.set(&[None]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert!(create(&directory).is_err(), "a directory is no file");
        assert!(create(&directory.join("none/port")).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_wherever_it_leads_to() {
        use std::os::unix::fs::symlink;
        let directory = std::env::temp_dir().join(format!("natpmp-port-file-links-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (path, other) = (directory.join("port"), directory.join("other"));
        fs::write(&other, "somebody's").unwrap();
        symlink(&other, directory.join("port.new")).unwrap();
        symlink(&other, &path).unwrap();
        // In place, which is how it is written where it cannot be replaced.
        assert!(write_in_place(&path, b"4000\n").is_err());
        let second_name = directory.join("second");
        fs::hard_link(&other, &second_name).unwrap();
        assert!(write_in_place(&second_name, b"4000\n").is_err());
        fs::remove_file(&second_name).unwrap();
        assert!(write_in_place(Path::new("/dev/null"), b"4000\n").is_err());

        create(&path).unwrap().set(&[Some(4000)]);
        assert_eq!(fs::read_to_string(&other).unwrap(), "somebody's");
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "the link was replaced");
        assert_eq!(fs::read_to_string(&path).unwrap(), "4000\n");
        write_in_place(&path, b"5\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "5\n");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_may_read_it_is_for_the_umask_to_say() {
        use std::os::unix::fs::PermissionsExt;
        let directory = std::env::temp_dir().join(format!("natpmp-port-file-mode-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        create(&directory.join("port")).unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
        let umask = u32::from_str_radix(umask.trim(), 8).unwrap();
        let mode = fs::metadata(directory.join("port")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666 & !umask);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_behind_is_no_hindrance() {
        let directory = std::env::temp_dir().join(format!("natpmp-port-file-stale-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("port");
        fs::write(directory.join("port.new"), "40").unwrap();
        create(&path).unwrap().set(&[Some(4000)]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "4000\n");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }
}
