//! The memory of a table, and the only pointer arithmetic on it.
//!
//! A region is measured once, when it is made or attached; after that every section is a slice of atomics with a
//! private length. Whatever is written into the memory later, no access leaves a slice.

#![allow(unsafe_code)]

use super::latency::Latency;
use super::layout::{Capacity, LAYOUT_VERSION, Layout, MAGIC, header};
use crate::error::{Error, TIDEGATE_ERR_LAYOUT, TIDEGATE_ERR_NULL, TIDEGATE_ERR_SYSTEM};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::fs::File;
use std::os::fd::AsRawFd;

type Words = &'static [AtomicU64];

/// The sections of a table. The slices borrow memory that lives as long as this value (see `mapping`): they must not
/// leave the crate's table module except through methods that tie them to `&self`.
pub(super) struct Region {
    pub capacity: Capacity,
    pub size: usize,
    pub epoch: u64,
    pub lane_row: usize,
    pub requests_row: usize,
    pub header: Words,
    pub leases: Words,
    pub upstreams: Words,
    pub upstream_causes: Words,
    pub states: Words,
    pub aggregates: &'static [AtomicU32],
    pub latency: Latency,
    pub tallies: Words,
    pub upstream_tallies: Words,
    pub lanes: Words,
    pub requests: Words,
    pub waiting: Words,
    pub timings: Words,
    pub histograms: &'static [AtomicU32],
    pub hesitations: Words,
    pub peers: Words,
    pub peer_causes: &'static [AtomicU32],
    pub events: Words,
    pub arena: Words,
    /// Unmapped on drop; `None` where the memory is the caller's.
    mapping: Option<Mapping>,
}

/// What a file is mapped for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Write,
}

struct Mapping {
    base: *mut libc::c_void,
    size: usize,
    access: Access,
}

// SAFETY: a mapping is plain memory that only atomics touch; unmapping it from any thread is fine.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing is done through a shared reference.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and size are those that mmap returned, and the slices die with the region that owns us.
        unsafe { libc::munmap(self.base, self.size) };
    }
}

impl Region {
    pub fn anonymous(capacity: &Capacity, now: u64) -> Result<Region, Error> {
        let size = Layout::of(capacity)?.size;
        let mapping = map_anonymous(size)?;
        // SAFETY: the mapping is ours alone, zeroed, page-aligned, and moves into the region.
        let region = unsafe { Region::create_at(mapping.base.cast(), size, capacity, now) }?;
        Ok(Region { mapping: Some(mapping), ..region })
    }

    /// A new table in a file of `size` bytes that has no name yet.
    pub fn create_file(file: &File, size: usize, capacity: &Capacity, now: u64) -> Result<Region, Error> {
        let mapping = map_file(file, size, Access::Write)?;
        // SAFETY: nobody else can reach the file; the mapping moves into the region.
        let region = unsafe { Region::create_at(mapping.base.cast(), size, capacity, now) }?;
        Ok(Region { mapping: Some(mapping), ..region })
    }

    /// The table in the first `size` bytes of a file. Only loads are made of one that is mapped to be read; on 64-bit
    /// machines these are plain loads, whatever their ordering, which memory that cannot be written allows.
    pub fn attach_file(file: &File, size: usize, access: Access) -> Result<Region, Error> {
        let mapping = map_file(file, size, access)?;
        // SAFETY: the mapping moves into the region. That nobody cuts the file short is up to its owner (see `file`);
        // that nothing is written where that is not allowed is up to `Table::writable`.
        let region = unsafe { Region::attach_at(mapping.base.cast(), size) }?;
        Ok(Region { mapping: Some(mapping), ..region })
    }

    /// The same sections once more.
    #[cfg(all(loom, test))]
    pub fn again(&self) -> Region {
        Region { mapping: None, ..*self }
    }

    /// Whether a store would be a fault.
    pub fn is_read_only(&self) -> bool {
        self.mapping.as_ref().is_some_and(|m| m.access == Access::Read)
    }

    /// # Safety
    /// `memory` points to `size` bytes that nothing else uses and that outlive the region.
    pub unsafe fn create_at(memory: *mut u8, size: usize, capacity: &Capacity, now: u64) -> Result<Region, Error> {
        let layout = Layout::of(capacity)?;
        check_place(memory, size)?;
        if size < layout.size {
            return Err(Error::invalid(format!(
                "size is {size} bytes: these capacities need {} (tidegate_table_size)",
                layout.size
            )));
        }
        // SAFETY: `layout.size` bytes are ours; writing all of them also takes the pages now rather than at a bad time.
        unsafe { std::ptr::write_bytes(memory, 0, layout.size) };
        // SAFETY: checked place and size, zeroed: every section lies within `layout.size` bytes.
        let region = unsafe { Region::measure(memory, capacity, &layout, now) };
        let set = |word: usize, value: u64| region.header[word].store(value, Ordering::Relaxed);
        set(header::VERSION, u64::from(LAYOUT_VERSION));
        set(header::SIZE, layout.size as u64);
        set(header::CAPACITY, pack(capacity.upstreams, capacity.peers));
        set(header::CAPACITY_2, pack(capacity.workers, capacity.events));
        set(header::EPOCH, now);
        set(header::ARENA_USED, super::snapshot::ARENA_START as u64);
        // Release: whoever sees the magic sees the rest of the header.
        region.header[header::MAGIC].store(MAGIC, Ordering::Release);
        Ok(region)
    }

    /// # Safety
    /// `memory` points to `size` readable bytes that outlive the region, writable too unless only loads are made.
    pub unsafe fn attach_at(memory: *mut u8, size: usize) -> Result<Region, Error> {
        check_place(memory, size)?;
        if size < header::WORDS * 8 {
            return Err(layout_error(format!("{size} bytes are too few for a table's header")));
        }
        // SAFETY: the header's bytes are there, aligned, and only atomics touch them.
        let head = unsafe { words(memory, (0, header::WORDS)) };
        let read = |word: usize| head[word].load(Ordering::Acquire);
        if read(header::MAGIC) != MAGIC {
            return Err(layout_error("the memory does not begin with a table's magic number"));
        }
        let capacity = check_header(read, size)?;
        let layout = Layout::of(&capacity)?;
        // SAFETY: `layout.size` bytes are there; every section lies within them.
        Ok(unsafe { Region::measure(memory, &capacity, &layout, read(header::EPOCH)) })
    }

    /// # Safety
    /// `memory` is aligned to 64 and `layout.size` bytes long, initialised, and outlives the region.
    unsafe fn measure(memory: *mut u8, capacity: &Capacity, layout: &Layout, epoch: u64) -> Region {
        // SAFETY: the section lies within the region.
        let words = |section: (usize, usize)| unsafe { words(memory, section) };
        // SAFETY: as above.
        let halves = |section: (usize, usize)| unsafe { halves(memory, section) };
        Region {
            capacity: *capacity,
            size: layout.size,
            epoch,
            lane_row: layout.lane_row,
            requests_row: layout.requests_row,
            header: words((0, header::WORDS)),
            leases: words(layout.leases),
            upstreams: words(layout.upstreams),
            upstream_causes: words(layout.upstream_causes),
            states: words(layout.states),
            aggregates: halves(layout.aggregates),
            latency: Latency {
                estimates: words(layout.estimates),
                places: words(layout.places),
                keys: halves(layout.keys),
            },
            tallies: words(layout.tallies),
            upstream_tallies: words(layout.upstream_tallies),
            lanes: words(layout.lanes),
            requests: words(layout.requests),
            waiting: words(layout.waiting),
            timings: words(layout.timings),
            histograms: halves(layout.histograms),
            hesitations: words(layout.hesitations),
            peers: words(layout.peers),
            peer_causes: halves(layout.peer_causes),
            events: words(layout.events),
            arena: words(layout.arena),
            mapping: None,
        }
    }
}

/// # Safety
/// The words of the section (offset, length) are there, aligned and initialised, only atomics touch them, and they
/// outlive the use of the slice.
#[cfg(not(loom))]
unsafe fn words(memory: *mut u8, (offset, len): (usize, usize)) -> Words {
    // SAFETY: the caller's promise; AtomicU64 accepts every bit pattern and allows sharing.
    unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU64>().add(offset), len) }
}

/// # Safety
/// As for `words`: two halves a word.
#[cfg(not(loom))]
unsafe fn halves(memory: *mut u8, (offset, len): (usize, usize)) -> &'static [AtomicU32] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(memory.add(offset * 8).cast::<AtomicU32>(), len * 2) }
}

/// Loom's atomics have no place in foreign memory: a region under a model has words of its own, and nothing can be
/// attached.
///
/// # Safety
/// None is needed: the memory is not touched.
#[cfg(loom)]
unsafe fn words(_memory: *mut u8, (_, len): (usize, usize)) -> Words {
    crate::sync::modelled::words(len)
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(loom)]
unsafe fn halves(_memory: *mut u8, (_, len): (usize, usize)) -> &'static [AtomicU32] {
    crate::sync::modelled::halves(len * 2)
}

/// What is said of a header of another layout.
pub(super) fn is_other_layout(read: impl Fn(usize) -> u64) -> Option<String> {
    let version = read(header::VERSION);
    (version != u64::from(LAYOUT_VERSION)).then(|| {
        format!(
            "layout version {} with features {:#x}: this library reads version {LAYOUT_VERSION} with none",
            version as u32,
            version >> 32
        )
    })
}

/// The capacities in a header that begins with the magic number, if a table of them lies in `size` bytes.
pub(super) fn check_header(read: impl Fn(usize) -> u64, size: usize) -> Result<Capacity, Error> {
    if let Some(what) = is_other_layout(&read) {
        return Err(layout_error(what));
    }
    let (upstreams, peers) = unpack(read(header::CAPACITY));
    let (workers, events) = unpack(read(header::CAPACITY_2));
    if [upstreams, peers, workers, events].contains(&0) {
        return Err(layout_error("a capacity in the header is 0"));
    }
    let capacity = Capacity::new(upstreams, peers, workers, events).map_err(|e| layout_error(e.to_string()))?;
    let (needed, said) = (Layout::of(&capacity)?.size, read(header::SIZE));
    if said != needed as u64 || needed > size {
        return Err(layout_error(format!(
            "the header says {said} bytes, its capacities need {needed}, and {size} are there"
        )));
    }
    Ok(capacity)
}

fn check_place(memory: *mut u8, size: usize) -> Result<(), Error> {
    if memory.is_null() {
        return Err(Error::of(TIDEGATE_ERR_NULL));
    }
    if !memory.addr().is_multiple_of(64) {
        return Err(Error::invalid("memory must be aligned to 64 bytes"));
    }
    if size > isize::MAX as usize {
        return Err(Error::invalid("size is larger than an address space"));
    }
    Ok(())
}

fn layout_error(text: impl Into<Box<str>>) -> Error {
    Error::new(TIDEGATE_ERR_LAYOUT, text)
}

fn pack(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn unpack(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// Shared memory that no process can shrink under another's feet: a sealed memfd, or an anonymous mapping where the
/// kernel has no memfd (both live as long as a process maps them).
fn map_anonymous(size: usize) -> Result<Mapping, Error> {
    // SAFETY: plain system calls on values of our own; results are checked.
    unsafe {
        let fd = libc::memfd_create(c"tidegate-table".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        let flags = if fd >= 0 { libc::MAP_SHARED } else { libc::MAP_SHARED | libc::MAP_ANONYMOUS };
        if fd >= 0 {
            // A signal ends it early: again, but not for ever under a timer.
            let mut attempts = (0..100).map(|_| libc::posix_fallocate(fd, 0, size as libc::off_t));
            let error = attempts.find(|&e| e != libc::EINTR).unwrap_or(libc::EINTR);
            let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
            if error != 0 || libc::fcntl(fd, libc::F_ADD_SEALS, seals) != 0 {
                let error = if error != 0 { error } else { last_errno() };
                libc::close(fd);
                return Err(system_error("reserving shared memory", size, error));
            }
        }
        let base = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0);
        let error = last_errno();
        if fd >= 0 {
            libc::close(fd);
        }
        if base == libc::MAP_FAILED {
            return Err(system_error("mapping shared memory", size, error));
        }
        Ok(Mapping { base, size, access: Access::Write })
    }
}

fn map_file(file: &File, size: usize, access: Access) -> Result<Mapping, Error> {
    let protection = match access {
        Access::Read => libc::PROT_READ,
        Access::Write => libc::PROT_READ | libc::PROT_WRITE,
    };
    // SAFETY: a fresh mapping at an address that the kernel chooses; the result is checked.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(system_error("mapping the file", size, last_errno()));
    }
    Ok(Mapping { base, size, access })
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn system_error(what: &str, size: usize, error: i32) -> Error {
    let error = std::io::Error::from_raw_os_error(error);
    Error::new(TIDEGATE_ERR_SYSTEM, format!("{what} of {size} bytes: {error}"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A file under a map can be cut short, and then every access is a SIGBUS; a table without a name is sealed
    /// against that.
    #[test]
    fn nobody_can_cut_an_anonymous_table_short() {
        let mapping = map_anonymous(1 << 16).unwrap();
        let (from, to) = (mapping.base.addr(), mapping.base.addr() + mapping.size);
        let path = format!("/proc/self/map_files/{from:x}-{to:x}");
        let Ok(file) = File::options().read(true).write(true).open(&path) else {
            return println!("skipped: this machine does not let a process open what it has mapped");
        };
        for size in [0, 4096, 1 << 17] {
            let refused = file.set_len(size).expect_err("a sealed file changed its length");
            assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        }
        // SAFETY: the mapping is ours, and page-aligned.
        let word = unsafe { AtomicU64::from_ptr(mapping.base.cast::<u64>().add(8191)) };
        word.store(7, Ordering::Relaxed);
        assert_eq!(word.load(Ordering::Relaxed), 7);
    }
}
