//! Tables in named files on tmpfs: their state outlives every process that uses it.
//!
//! It owns how such a file comes to its name, is judged and is replaced; what stands in it is the business of `region`.
//! It never deletes a table, never follows a symbolic link in place of the file, and never touches a file that does not
//! begin with a table's magic number.
//!
//! - *A table is whole before it has a name.* It is made in an unnamed file (O_TMPFILE), allocated to its last byte (a
//!   hole on a full tmpfs is a SIGBUS at some later write), formatted, and then linked to its name, which fails if the
//!   name exists: of many who start at once one wins, and the others attach to its table. A process that fails or dies
//!   before that leaves nothing.
//! - *A table is replaced, not repaired.* Whoever replaces one holds the old file's lock (flock: the kernel frees it
//!   with its owner), looks whether the name still means that file, and renames a fresh table over it. Processes that
//!   use the old one go on with it.
//! - *A table is judged before it is mapped*, from bytes that were read, so that a short file is an error and no SIGBUS.
//!   Whoever may write to the file could cut it short later, under the map of a live process, and nothing can seal it
//!   against that: therefore it must belong to this user or to root, and nobody else may be allowed to write to it.
//!
//! Set-up only: system calls, a wait of 2 s at most. Source: open(2) (O_TMPFILE), linkat(2), rename(2).

#![allow(unsafe_code)]

use super::layout::{Capacity, MAGIC, header};
use super::origin::Origin;
use super::region::{Access, Region, check_header, is_other_layout};
use super::{EventKind, Table};
use crate::error::{
    Error, TIDEGATE_ERR_BUSY, TIDEGATE_ERR_CLOCK, TIDEGATE_ERR_LAYOUT, TIDEGATE_ERR_READ_ONLY, TIDEGATE_ERR_SYSTEM,
    tidegate_status,
};
use std::ffi::{CString, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Error as IoError, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is asked of a table in a file.
#[derive(Clone, Copy, Default, Debug)]
pub struct FileOptions {
    /// Capacities. 0: the default if the table is made, and whatever it has if it is there.
    pub upstreams: u32,
    /// As above.
    pub peers: u32,
    /// As above.
    pub workers: u32,
    /// As above.
    pub events: u32,
    /// Whether a table of another layout or capacity, or a damaged one, gives way to a fresh one.
    pub replace: bool,
}

/// Why a fresh table took the place of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Replaced {
    /// It was one of another layout version or with other features.
    Layout = 1,
    /// It had other capacities than were asked for.
    Capacity = 2,
    /// Its header contradicted itself or the size of the file.
    Damaged = 3,
    /// It was left from before a reboot: its times meant nothing any more.
    Reboot = 4,
}

/// Why a file is not the table that was asked for.
struct Misfit {
    /// `None`: it is not ours to replace.
    reason: Option<Replaced>,
    status: tidegate_status,
    what: String,
}

/// Names may change under our eyes this often before we give up.
const TRIES: u32 = 32;
/// Tries for the lock of a table that is to be replaced, a millisecond apart.
const LOCK_TRIES: u32 = 2000;
/// A signal makes the kernel give back what it had reserved.
const EINTR_TRIES: u32 = 100;
/// Hosts cache the time, and who lost the race to make a table asked for the time before the winner did.
const CLOCK_SLACK_NS: u64 = 60_000_000_000;

impl Table {
    /// Opens the table in this file, or makes it.
    pub fn open_file(path: &Path, options: &FileOptions, now: u64) -> Result<Table, Error> {
        let capacity = Capacity::new(options.upstreams, options.peers, options.workers, options.events)?;
        check_path(path)?;
        for _ in 0..TRIES {
            let Some(file) = open(path, Access::Write)? else {
                let (file, table) = fresh(path, &capacity, None, now)?;
                match link(&file, path) {
                    Ok(()) => return Ok(table),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(system(path, "giving the table its name", error)),
                }
            };
            match judge(&file, options, Some(now)) {
                Ok(size) => {
                    let region = Region::attach_file(&file, size, Access::Write).map_err(|e| at(path, e))?;
                    if is_named(&file, path) {
                        return Ok(Table::from_region(region));
                    }
                }
                Err(misfit) => match misfit.reason.filter(|_| misfit.gives_way(options)) {
                    Some(reason) => {
                        if let Some(table) = replace(&file, path, &capacity, reason, now)? {
                            return Ok(table);
                        }
                    }
                    None => return Err(misfit.refuse(path)),
                },
            }
        }
        Err(Error::new(TIDEGATE_ERR_BUSY, format!("{}: the file kept changing while it was opened", shown(path))))
    }

    /// Says what `open_file` would say, and makes, changes and replaces nothing.
    pub fn check_file(path: &Path, options: &FileOptions, now: u64) -> Result<(), Error> {
        Capacity::new(options.upstreams, options.peers, options.workers, options.events)?;
        check_path(path)?;
        let Some(file) = open(path, Access::Write)? else {
            let directory = std::fs::metadata(directory_of(path));
            return directory.map(drop).map_err(|error| system(path, "looking for its directory", error));
        };
        match judge(&file, options, Some(now)) {
            Ok(_) => Ok(()),
            Err(misfit) if misfit.gives_way(options) => Ok(()),
            Err(misfit) => Err(misfit.refuse(path)),
        }
    }

    /// Opens the table in this file to read it: every call on it that would write answers `TIDEGATE_ERR_READ_ONLY`.
    pub fn open_file_read_only(path: &Path) -> Result<Table, Error> {
        check_path(path)?;
        let Some(file) = open(path, Access::Read)? else {
            return Err(system(path, "opening it", IoError::from_raw_os_error(libc::ENOENT)));
        };
        let size = judge(&file, &FileOptions::default(), None).map_err(|misfit| misfit.refuse(path))?;
        Region::attach_file(&file, size, Access::Read).map(Table::from_region).map_err(|e| at(path, e))
    }

    /// An error if this handle may only read.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        if self.region.is_read_only() { Err(Error::of(TIDEGATE_ERR_READ_ONLY)) } else { Ok(()) }
    }
}

impl Misfit {
    fn new(reason: impl Into<Option<Replaced>>, what: impl Into<String>) -> Misfit {
        Misfit { reason: reason.into(), status: TIDEGATE_ERR_LAYOUT, what: what.into() }
    }

    fn clock(what: impl Into<String>) -> Misfit {
        Misfit { status: TIDEGATE_ERR_CLOCK, ..Misfit::new(None, what) }
    }

    /// Whether a fresh table may take its place.
    fn gives_way(&self, options: &FileOptions) -> bool {
        self.reason.is_some_and(|reason| options.replace || reason == Replaced::Reboot)
    }

    fn refuse(self, path: &Path) -> Error {
        Error::new(self.status, format!("{}: {}", shown(path), self.what))
    }
}

/// Opens what has the name. `None`: nothing has.
fn open(path: &Path, access: Access) -> Result<Option<File>, Error> {
    // O_NONBLOCK: a FIFO in place of the file must not hold us up.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).write(access == Access::Write).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(system(path, "a symbolic link is not followed", error));
        }
        Err(error) => return Err(system(path, "opening it", error)),
    };
    let meta = file.metadata().map_err(|e| system(path, "asking for its size", e))?;
    let refuse = |what: String| Err(Error::invalid(format!("{}: {what}", shown(path))));
    if !meta.is_file() {
        return refuse("is not a regular file".into());
    }
    if access == Access::Write {
        // SAFETY: geteuid only answers.
        let me = unsafe { libc::geteuid() };
        if meta.uid() != me && meta.uid() != 0 {
            return refuse(format!("belongs to user {}: must be this process's user {me} or root", meta.uid()));
        }
        if meta.mode() & 0o022 != 0 {
            return refuse(format!("has mode {:04o}: others than its owner may write to it", meta.mode() & 0o7777));
        }
    }
    Ok(Some(file))
}

/// Whether the file is the table that is asked for: how many bytes to map, or why not. `now`: `None` for observers.
fn judge(file: &File, asked: &FileOptions, now: Option<u64>) -> Result<usize, Misfit> {
    let unread = |e: IoError| Misfit::new(None, format!("reading its header: {e}"));
    let size = file.metadata().map_err(unread)?.len();
    let mut bytes = [0; header::WORDS * 8];
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(error)),
        }
    }
    let word = |i: usize| bytes[i * 8..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
    if len < 16 || word(header::MAGIC) != MAGIC {
        return Err(Misfit::new(None, "is not a table: it does not begin with a table's magic number"));
    }
    if let Some(what) = is_other_layout(word) {
        return Err(Misfit::new(Replaced::Layout, what));
    }
    if len < bytes.len() {
        return Err(Misfit::new(Replaced::Damaged, format!("ends after {len} bytes, within its header")));
    }
    let (its, ours) = (Origin::of(word), Origin::current());
    if its.is_another_boot(ours) {
        return Err(Misfit::new(Replaced::Reboot, "was left from before the last reboot"));
    }
    let mapped = usize::try_from(size).unwrap_or(0);
    let capacity = check_header(word, mapped).map_err(|e| Misfit::new(Replaced::Damaged, e.to_string()))?;
    if word(header::SIZE) != size {
        let what = format!("has {size} bytes: its header says {}", word(header::SIZE));
        return Err(Misfit::new(Replaced::Damaged, what));
    }
    if let Some(ahead) = its.ahead_of(ours) {
        let (apart_s, way) = (ahead.unsigned_abs() / 1_000_000_000, if ahead < 0 { "behind" } else { "ahead of" });
        let what = format!("is of another time namespace: its clock is {apart_s} s {way} this process's");
        return Err(Misfit::clock(what));
    }
    if now.is_some_and(|now| word(header::EPOCH) > now.saturating_add(CLOCK_SLACK_NS)) {
        return Err(Misfit::clock("was made in the future: now_ns is not of the clock that its maker used"));
    }
    let capacities = [
        ("max_upstreams", asked.upstreams, capacity.upstreams),
        ("max_peers", asked.peers, capacity.peers),
        ("max_workers", asked.workers, capacity.workers),
        ("events", asked.events, capacity.events),
    ];
    match capacities.into_iter().find(|&(_, wanted, there)| wanted != 0 && wanted != there) {
        Some((name, wanted, there)) => {
            Err(Misfit::new(Replaced::Capacity, format!("was made with {name} {there}: asked for is {wanted}")))
        }
        None => Ok(mapped),
    }
}

/// A table without a name.
fn fresh(path: &Path, capacity: &Capacity, replaced: Option<Replaced>, now: u64) -> Result<(File, Table), Error> {
    let directory = directory_of(path);
    let size = Table::size_for(capacity)?;
    let made = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
    let file = made.map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EISDIR) => {
            system(path, "its directory is on a file system without unnamed files: use a tmpfs", error)
        }
        _ => system(path, "making a file in its directory", error),
    })?;
    // The umask may have taken bits from the mode.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|e| system(path, "setting its mode", e))?;
    allocate(&file, size).map_err(|e| system(path, &format!("reserving {size} bytes"), e))?;
    let region = Region::create_file(&file, size, capacity, now).map_err(|e| at(path, e))?;
    Origin::current().write(region.header);
    let table = Table::from_region(region);
    if let Some(reason) = replaced {
        table.emit(EventKind::TableReplaced { reason }, now);
    }
    Ok((file, table))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a fresh table in the place of the one in `old`. `None`: somebody else was faster, or removed it.
fn replace(old: &File, path: &Path, capacity: &Capacity, reason: Replaced, now: u64) -> Result<Option<Table>, Error> {
    lock(old, path)?;
    if !is_named(old, path) {
        return Ok(None);
    }
    let (file, table) = fresh(path, capacity, Some(reason), now)?;
    // Only the holder of the lock uses this name, so what is there was left by one that died between these calls.
    let next = PathBuf::from(OsString::from_vec([path.as_os_str().as_bytes(), b".new"].concat()));
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(system(path, "removing what is left at its name with .new", error));
        }
        _ => {}
    }
    link(&file, &next).map_err(|e| system(path, "giving the new table a name", e))?;
    std::fs::rename(&next, path).map_err(|error| {
        let _ = std::fs::remove_file(&next);
        system(path, "replacing the table", error)
    })?;
    Ok(Some(table))
}

/// Whether the name means this very file.
fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}

/// Waits for the lock of a file; it is freed when the file is closed.
fn lock(file: &File, path: &Path) -> Result<(), Error> {
    for _ in 0..LOCK_TRIES {
        // SAFETY: a call on a descriptor that `file` owns.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(());
        }
        let error = IoError::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EWOULDBLOCK | libc::EINTR)) {
            return Err(system(path, "locking it", error));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::new(TIDEGATE_ERR_BUSY, format!("{}: another process is replacing the table", shown(path))))
}

/// Takes all blocks of the file now.
fn allocate(file: &File, size: usize) -> Result<(), IoError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } == 0;
    // Past this limit the kernel answers by a signal that ends the host.
    if known && size as u64 > limit.rlim_cur {
        return Err(IoError::from_raw_os_error(libc::EFBIG));
    }
    for _ in 0..EINTR_TRIES {
        // SAFETY: a call on a descriptor that `file` owns.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size as libc::off_t) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(IoError::from_raw_os_error(error)),
        }
    }
    Err(IoError::from_raw_os_error(libc::EINTR))
}

/// Gives an unnamed file its name, unless the name is taken.
fn link(file: &File, path: &Path) -> Result<(), IoError> {
    let (here, fd) = (libc::AT_FDCWD, file.as_raw_fd());
    let name = CString::new(path.as_os_str().as_bytes())?;
    let through = CString::new(format!("/proc/self/fd/{fd}"))?;
    // SAFETY: both strings end in a NUL and live through the call.
    if unsafe { libc::linkat(here, through.as_ptr(), here, name.as_ptr(), libc::AT_SYMLINK_FOLLOW) } == 0 {
        return Ok(());
    }
    let error = IoError::last_os_error();
    if error.kind() != ErrorKind::NotFound {
        return Err(error);
    }
    // Where there is no /proc, a new kernel or a capability does without.
    // SAFETY: as above.
    match unsafe { libc::linkat(fd, c"".as_ptr(), here, name.as_ptr(), libc::AT_EMPTY_PATH) } {
        0 => Ok(()),
        _ => Err(error),
    }
}

fn check_path(path: &Path) -> Result<(), Error> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Error::invalid("path: must be a file's name, without a NUL"));
    }
    Ok(())
}

fn system(path: &Path, what: &str, error: IoError) -> Error {
    Error::new(TIDEGATE_ERR_SYSTEM, format!("{}: {what}: {error}", shown(path)))
}

fn at(path: &Path, error: Error) -> Error {
    Error::new(error.status, format!("{}: {error}", shown(path)))
}

/// The path, or its end: a sentence has room for 240 bytes.
fn shown(path: &Path) -> String {
    const MOST: usize = 100;
    let text = path.display().to_string();
    match text.char_indices().nth_back(MOST) {
        Some((cut, _)) => format!("…{}", &text[cut..]),
        None => text,
    }
}
