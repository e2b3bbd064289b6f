use super::*;

fn state() -> StoredState {
    let mapping = |protocol, port| StoredMapping {
        mapping: NatMapping {
            protocol,
            internal: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 4000),
            external_port: port,
        },
        expires_at: 1_800_000_000,
    };
    StoredState {
        saved_at: 1_700_000_000,
        epoch: 77,
        is_final: true,
        mappings: vec![mapping(Protocol::Udp, 4000), mapping(Protocol::Tcp, 5000)],
    }
}

#[test]
fn what_is_written_is_read_back() {
    for state in [state(), StoredState { is_final: false, ..state() }, StoredState::default()] {
        assert_eq!(StoredState::parse(&state.to_string()).unwrap(), state);
    }
}

#[test]
fn the_epoch_goes_on_after_an_end_and_begins_anew_after_a_crash() {
    let saved_at = unix_time() - 100;
    let ended = StoredState { saved_at, ..state() };
    assert!((177..180).contains(&ended.epoch_now()), "{}", ended.epoch_now());
    assert_eq!(StoredState { is_final: false, ..ended.clone() }.epoch_now(), 0);
    let old = StoredState { epoch: u32::MAX, ..ended.clone() };
    assert_eq!(old.epoch_now(), u32::MAX);
    // A clock that was set back.
    let future = StoredState { saved_at: u64::MAX, ..ended };
    assert_eq!(future.epoch_now(), 77);
}

#[test]
fn no_other_word_says_that_it_is_final() {
    let text = |end: &str| {
        let text = format!("{HEADER}saved 1 epoch 2{end}\n");
        let mut checksum = Checksum::new();
        checksum.add(&text);
        format!("{text}end 0 {checksum}\n")
    };
    assert!(StoredState::parse(&text(" final")).unwrap().is_final);
    assert!(!StoredState::parse(&text("")).unwrap().is_final);
    for end in [" ", " Final", " final ", " final final", "  final", " running"] {
        assert!(StoredState::parse(&text(end)).is_err(), "{end:?}");
    }
}

#[test]
fn what_a_killed_gateway_left_half_written_is_gone_after_the_next_save() {
    let directory = std::env::temp_dir().join(format!("natpmp-state-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (path, longer) = (directory.join("state"), state().to_string().repeat(2));
    fs::write(directory.join("state.new"), longer).unwrap();
    state().save(&path).unwrap();
    assert_eq!(StoredState::load(&path).unwrap(), Some(state()));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let text = state().to_string();
    for length in 0..text.len() {
        assert!(StoredState::parse(&text[..length]).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn a_file_in_which_any_byte_was_changed_or_added_is_refused() {
    let text = state().to_string();
    for index in 0..text.len() {
        for byte in [b'0', b'1', b'9', b' ', b'\n', b'x'] {
            let mut bytes = text.clone().into_bytes();
            let is_same = bytes[index] == byte;
            bytes[index] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(is_same || StoredState::parse(&changed).is_err(), "byte {index} changed to {byte}");
            let mut longer = text.clone();
            longer.insert(index, char::from(byte));
            assert!(StoredState::parse(&longer).is_err(), "{byte} added at {index}");
        }
    }
    assert!(StoredState::parse(&format!("{text}\n")).is_err());
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it_and_no_link_is_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = directory("links");
    let (path, other) = (directory.join("state"), directory.join("other"));
    fs::write(&other, "somebody's").unwrap();
    symlink(&other, beside(&path, ".new")).unwrap();
    symlink(&other, &path).unwrap();
    state().save(&path).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "somebody's");
    let written = fs::symlink_metadata(&path).unwrap();
    assert!(written.is_file(), "the link was replaced");
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert_eq!(StoredState::load(&path).unwrap(), Some(state()));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_damaged_file_is_kept_aside_and_the_next_start_has_none() {
    let directory = directory("damaged");
    let path = directory.join("state");
    assert_eq!(StoredState::load(&path).unwrap(), None);
    state().save(&path).unwrap();
    assert_eq!(StoredState::load(&path).unwrap(), Some(state()));
    fs::write(&path, "natpmp gateway state 1\nsaved").unwrap();
    let Err(StateError::Damaged { kept_as: Some(aside), .. }) = StoredState::load(&path) else { panic!("damaged") };
    assert_eq!(fs::read(aside).unwrap(), b"natpmp gateway state 1\nsaved");
    assert_eq!(StoredState::load(&path).unwrap(), None);
    fs::remove_dir_all(&directory).unwrap();
}

fn directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("natpmp-state-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}
