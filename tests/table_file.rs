//! Tables in files, through the C ABI and with real processes: fifty creators at once, files of every wrong kind, limits
//! and full file systems, observers. After every test the directory holds what was meant to be there and nothing else.
//! Own `main`: the test runner's threads and fork() do not go together.

#![allow(unsafe_code)]

mod common;

use common::process::{fork, wait};
use common::{SECOND, peer, specs};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use tidegate::ffi::{cause::*, request::*, status::*, table::*, upstream::*, worker::*, *};
use tidegate::table::{Event, FileOptions, Policy, Table};

const NOW: u64 = 1000 * SECOND;
/// Words of the header, as layout version 3 has them.
const VERSION: u64 = 1;
const SIZE: u64 = 2;
const CAPACITY: u64 = 3;
const EPOCH: u64 = 5;
const BOOT: u64 = 10;
const MONOTONIC_SHIFT: u64 = 12;
const HEADER_BYTES: usize = 256;

const SMALL: FileOptions = FileOptions { upstreams: 64, peers: 64, workers: 8, events: 64, replace: false };
const REPLACE: FileOptions = FileOptions { replace: true, ..SMALL };

fn main() {
    let tests: [(&str, fn()); 16] = [
        ("a_table_outlives_its_processes", a_table_outlives_its_processes),
        ("fifty_creators_agree_on_one_table", fifty_creators_agree_on_one_table),
        ("fifty_replacers_agree_on_one_table", fifty_replacers_agree_on_one_table),
        ("what_does_not_fit_is_refused_and_left_alone", what_does_not_fit_is_refused_and_left_alone),
        ("what_does_not_fit_is_replaced_if_so_wished", what_does_not_fit_is_replaced_if_so_wished),
        ("a_check_says_what_opening_would_do", a_check_says_what_opening_would_do),
        ("what_is_no_table_is_never_replaced", what_is_no_table_is_never_replaced),
        ("a_table_from_before_a_reboot_is_replaced", a_table_from_before_a_reboot_is_replaced),
        ("another_time_namespace_is_refused", another_time_namespace_is_refused),
        ("every_prefix_of_a_table_is_refused", every_prefix_of_a_table_is_refused),
        ("random_headers_do_no_harm", random_headers_do_no_harm),
        ("an_observer_reads_and_cannot_write", an_observer_reads_and_cannot_write),
        ("other_things_in_its_place_are_refused", other_things_in_its_place_are_refused),
        ("limits_are_errors_and_leave_nothing", limits_are_errors_and_leave_nothing),
        ("full_and_read_only_file_systems_are_errors", full_and_read_only_file_systems_are_errors),
        ("killed_creators_leave_nothing_half_made", killed_creators_leave_nothing_half_made),
    ];
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let chosen = tests.iter().filter(|(name, _)| filter.as_ref().is_none_or(|f| name.contains(f.as_str())));
    let mut run = 0;
    for (name, test) in chosen {
        test();
        println!("test {name} ... ok");
        run += 1;
    }
    println!("\ntest result: ok. {run} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// A directory of its own, on a tmpfs where there is one.
struct Place {
    dir: PathBuf,
    table: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.into() } else { std::env::temp_dir() };
        let dir = base.join(format!("tidegate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Place { table: dir.join("table"), dir }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A small table, not in use.
    fn made(&self) -> &Path {
        Table::open_file(&self.table, &SMALL, NOW).unwrap();
        &self.table
    }

    fn set_word(&self, word: u64, value: u64) {
        let file = fs::File::options().write(true).open(&self.table).unwrap();
        file.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Handle(*mut tidegate_table);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: a live handle that nobody uses after this.
        unsafe { tidegate_table_free(self.0) };
    }
}

/// A status that is not OK, and its sentence.
type Refusal = (tidegate_status, String);

fn checked(status: tidegate_status) -> Result<(), Refusal> {
    let (mut text, mut len) = ([0u8; 240], 0);
    // SAFETY: both are writable and as long as said.
    unsafe { tidegate_last_error(text.as_mut_ptr().cast(), text.len(), &mut len) };
    if status == TIDEGATE_OK { Ok(()) } else { Err((status, String::from_utf8(text[..len].to_vec()).unwrap())) }
}

fn in_c(options: FileOptions) -> tidegate_table_options {
    tidegate_table_options {
        struct_size: size_of::<tidegate_table_options>(),
        max_upstreams: options.upstreams,
        max_peers: options.peers,
        max_workers: options.workers,
        events: options.events,
        on_mismatch: if options.replace { TIDEGATE_MISMATCH_REPLACE } else { TIDEGATE_MISMATCH_REFUSE },
        reserved: 0,
    }
}

fn check(path: &Path, options: FileOptions) -> Result<(), Refusal> {
    let (bytes, options) = (path.as_os_str().as_encoded_bytes(), in_c(options));
    // SAFETY: everything lives through the call.
    checked(unsafe { tidegate_table_check(bytes.as_ptr().cast(), bytes.len(), &options, NOW) })
}

fn open(path: &Path, options: FileOptions) -> Result<Handle, Refusal> {
    let options = in_c(options);
    let (bytes, mut table) = (path.as_os_str().as_encoded_bytes(), null_mut());
    // SAFETY: everything lives through the call.
    checked(unsafe { tidegate_table_open(bytes.as_ptr().cast(), bytes.len(), &options, NOW, &mut table) })?;
    Ok(Handle(table))
}

fn observe(path: &Path) -> Result<Handle, Refusal> {
    let (bytes, mut table) = (path.as_os_str().as_encoded_bytes(), null_mut());
    // SAFETY: everything lives through the call.
    checked(unsafe { tidegate_table_open_read_only(bytes.as_ptr().cast(), bytes.len(), &mut table) })?;
    Ok(Handle(table))
}

/// Both ways of opening refuse it so, and the file stays as it was.
#[track_caller]
fn refused(path: &Path, options: FileOptions, status: tidegate_status, sentence: &str) {
    let before = fs::read(path).ok();
    let (got, text) = open(path, options).err().expect("is refused");
    assert_eq!(got, status, "{text}");
    assert!(text.contains(sentence) && text.contains("table"), "{text}");
    assert_eq!(fs::read(path).ok(), before, "the file is untouched");
}

/// Runs it in a process of its own, for what cannot be undone.
#[track_caller]
fn apart(child: impl FnOnce()) {
    assert_eq!(wait(fork(child)), 0, "the process failed: see above");
}

/// Children that all begin at the same moment.
fn at_once(count: usize, child: impl Fn(usize)) {
    let (gate, opener) = std::io::pipe().unwrap();
    let pids: Vec<i32> = (0..count)
        .map(|i| {
            fork(|| {
                // SAFETY: the child's copy of the writing end; the parent's is the last one then.
                unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&opener)) };
                let _ = std::io::Read::read(&mut &gate, &mut [0]);
                child(i);
            })
        })
        .collect();
    drop(opener);
    for pid in pids {
        assert_eq!(wait(pid), 0, "a process failed: see above");
    }
}

fn events(table: &Table) -> Vec<Event> {
    let mut found: Vec<Event> = vec![];
    while let Some(event) = table.event_after(found.last().map_or(0, |e| e.number)) {
        found.push(event);
    }
    found
}

fn status(table: &Handle) -> String {
    let (mut text, mut len) = (vec![0u8; 1 << 20], 0);
    // SAFETY: a live handle and a buffer as long as said.
    let written = unsafe {
        let format = TIDEGATE_STATUS_FORMAT_JSON;
        tidegate_table_write_status(table.0, format, NOW, text.as_mut_ptr().cast(), text.len(), &mut len)
    };
    checked(written).unwrap();
    text.truncate(len);
    String::from_utf8(text).unwrap()
}

/// One request whose first peer refuses the connection: that peer is ejected.
fn eject_one(table: &Handle) {
    let mut worker = null_mut();
    let mut request = tidegate_request { opaque: [0; 64] };
    // SAFETY: all-zero structs of the ABI are valid; everything lives through the calls.
    unsafe {
        checked(tidegate_worker_join(table.0, std::ptr::null(), NOW, &mut worker)).unwrap();
        let mut options: tidegate_request_options = std::mem::zeroed();
        options.struct_size = size_of_val(&options);
        let mut pick: tidegate_pick = std::mem::zeroed();
        pick.struct_size = size_of_val(&pick);
        let mut outcome: tidegate_outcome = std::mem::zeroed();
        outcome.struct_size = size_of_val(&outcome);
        (outcome.cause, outcome.phase) = (TIDEGATE_CAUSE_CONNECTION_REFUSED, TIDEGATE_PHASE_CONNECT);
        let mut decision: tidegate_decision = std::mem::zeroed();
        decision.struct_size = size_of_val(&decision);
        checked(tidegate_request_start(worker, &mut request, &options, NOW)).unwrap();
        checked(tidegate_request_pick(&mut request, NOW, &mut pick)).unwrap();
        checked(tidegate_request_report(&mut request, &outcome, NOW, &mut decision)).unwrap();
        tidegate_request_end(&mut request, NOW);
        tidegate_worker_leave(worker);
    }
}

fn a_table_outlives_its_processes() {
    let place = Place::new("outlives");
    // SAFETY: changes this process's umask, and puts it back below.
    let umask = unsafe { libc::umask(0o777) };
    apart(|| {
        let table = Table::open_file(&place.table, &SMALL, NOW).unwrap();
        let upstream = table.open_upstream(b"app", &Policy::default()).unwrap();
        table.set_peers(upstream, &specs(&[peer(1), peer(2), peer(3)]), NOW).unwrap();
        eject_one(&open(&place.table, SMALL).unwrap());
    });
    // SAFETY: as above.
    unsafe { libc::umask(umask) };
    let meta = fs::metadata(&place.table).unwrap();
    let table = Table::open_file(&place.table, &FileOptions::default(), NOW).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o600);
    assert_eq!(meta.len(), table.size() as u64);
    assert!(meta.blocks() * 512 >= meta.len(), "no hole is left to be filled when the file system is full");
    assert_eq!(table.capacity().peers, 64, "0 asks for what is there");
    let text = status(&open(&place.table, SMALL).unwrap());
    assert_eq!(text.matches("\"health\":\"ejected\"").count(), 1, "{text}");
    assert_eq!(place.names(), ["table"]);
}

fn fifty_creators_agree_on_one_table() {
    for round in 0..4 {
        let place = Place::new(&format!("creators-{round}"));
        at_once(50, |i| {
            let table = Table::open_file(&place.table, &SMALL, NOW + i as u64).unwrap();
            table.open_upstream(format!("u{i}").as_bytes(), &Policy::default()).unwrap();
        });
        let table = Table::open_file(&place.table, &SMALL, NOW).unwrap();
        assert_eq!(table.upstream_ids().count(), 50, "everybody wrote to the same table");
        assert_eq!(place.names(), ["table"]);
    }
}

fn fifty_replacers_agree_on_one_table() {
    for round in 0..4 {
        let place = Place::new(&format!("replacers-{round}"));
        let old = Table::open_file(&place.table, &SMALL, NOW).unwrap();
        old.open_upstream(b"old", &Policy::default()).unwrap();
        at_once(50, |i| {
            let larger = FileOptions { peers: 128, ..REPLACE };
            let table = Table::open_file(&place.table, &larger, NOW).unwrap();
            table.open_upstream(format!("u{i}").as_bytes(), &Policy::default()).unwrap();
        });
        let table = Table::open_file(&place.table, &FileOptions::default(), NOW).unwrap();
        assert_eq!(table.capacity().peers, 128);
        assert_eq!(table.upstream_ids().count(), 50, "everybody wrote to the same table");
        let told: Vec<_> = events(&table).iter().map(|e| (e.kind.number(), e.value)).collect();
        assert_eq!(told, [(TIDEGATE_EVENT_TABLE_REPLACED, TIDEGATE_REPLACED_CAPACITY)]);
        old.open_upstream(b"still-here", &Policy::default()).unwrap();
        assert_eq!(old.upstream_ids().count(), 2, "who used the old table goes on with it");
        assert_eq!(place.names(), ["table"]);
    }
}

/// Ways to spoil a table: what is done to the file, what the sentence says, why it is replaced.
type Spoiled = (&'static str, fn(&Place), &'static str, u64);

const SPOILED: [Spoiled; 7] = [
    ("version", |p| p.set_word(VERSION, 7), "layout version 7", TIDEGATE_REPLACED_LAYOUT),
    ("feature", |p| p.set_word(VERSION, 1 | 1 << 33), "features 0x2", TIDEGATE_REPLACED_LAYOUT),
    ("no-peers", |p| p.set_word(CAPACITY, 64), "a capacity in the header is 0", TIDEGATE_REPLACED_DAMAGED),
    ("capacities", |p| p.set_word(CAPACITY, u64::MAX), "max_upstreams is", TIDEGATE_REPLACED_DAMAGED),
    ("size", |p| p.set_word(SIZE, 1 << 40), "the header says 1099511627776 bytes", TIDEGATE_REPLACED_DAMAGED),
    ("shorter", |p| cut(&p.table, -8), "are there", TIDEGATE_REPLACED_DAMAGED),
    ("longer", |p| cut(&p.table, 8), "its header says", TIDEGATE_REPLACED_DAMAGED),
];

/// Changes the length of a file.
fn cut(path: &Path, by: i64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len((file.metadata().unwrap().len() as i64 + by) as u64).unwrap();
}

fn what_does_not_fit_is_refused_and_left_alone() {
    for (name, spoil, sentence, _) in SPOILED {
        let place = Place::new(name);
        place.made();
        spoil(&place);
        refused(&place.table, SMALL, TIDEGATE_ERR_LAYOUT, sentence);
        let (status, text) = observe(&place.table).err().expect("observers are refused too");
        assert!(status == TIDEGATE_ERR_LAYOUT && text.contains(sentence), "{text}");
        assert_eq!(place.names(), ["table"]);
    }
    let place = Place::new("capacities-asked");
    place.made();
    for (options, sentence) in [
        (FileOptions { upstreams: 65, ..SMALL }, "max_upstreams 64: asked for is 65"),
        (FileOptions { peers: 65, ..SMALL }, "max_peers 64: asked for is 65"),
        (FileOptions { workers: 9, ..SMALL }, "max_workers 8: asked for is 9"),
        (FileOptions { events: 128, ..SMALL }, "events 64: asked for is 128"),
    ] {
        refused(&place.table, options, TIDEGATE_ERR_LAYOUT, sentence);
    }
}

fn what_does_not_fit_is_replaced_if_so_wished() {
    for (name, spoil, _, reason) in SPOILED {
        let place = Place::new(name);
        place.made();
        spoil(&place);
        // What one left that was killed between its two names.
        fs::write(place.dir.join("table.new"), b"half").unwrap();
        let table = Table::open_file(&place.table, &REPLACE, NOW).unwrap();
        let told: Vec<_> = events(&table).iter().map(|e| (e.kind.number(), e.value)).collect();
        assert_eq!(told, [(TIDEGATE_EVENT_TABLE_REPLACED, reason)], "{name}");
        assert_eq!(place.names(), ["table"]);
        let again = Table::open_file(&place.table, &REPLACE, NOW).unwrap();
        assert_eq!(events(&again).len(), 1, "what fits is not replaced");
    }
}

fn a_check_says_what_opening_would_do() {
    // Takes the file in any case and leaves it as it is.
    let checked = |place: &Place, options| {
        let before = fs::read(&place.table).ok();
        let result = check(&place.table, options);
        assert_eq!(fs::read(&place.table).ok(), before);
        result
    };
    for (name, spoil, _, _) in SPOILED {
        let place = Place::new(name);
        assert_eq!(checked(&place, SMALL), Ok(()), "it would be made");
        assert!(place.names().is_empty(), "and was not");
        place.made();
        assert_eq!(checked(&place, SMALL), Ok(()));
        spoil(&place);
        assert_eq!(checked(&place, REPLACE), Ok(()), "{name}");
        let refusal = checked(&place, SMALL).expect_err(name);
        assert_eq!(Some(refusal), open(&place.table, SMALL).err(), "{name}");
        assert_eq!(place.names(), ["table"]);
        fs::write(&place.table, b"precious data that somebody still needs").unwrap();
        let refusal = checked(&place, REPLACE).expect_err(name);
        assert_eq!(Some(refusal), open(&place.table, REPLACE).err(), "{name}");
    }
    let place = Place::new("missing");
    let (status, text) = check(&place.dir.join("missing/table"), SMALL).expect_err("has no directory");
    assert!(status == TIDEGATE_ERR_SYSTEM && text.contains("looking for its directory"), "{text}");
    assert_eq!(
        check(&place.table, FileOptions { peers: 100_000, ..SMALL }).map_err(|e| e.0),
        Err(TIDEGATE_ERR_INVALID)
    );
}

fn what_is_no_table_is_never_replaced() {
    let place = Place::new("foreign");
    for content in [&b""[..], b"T", b"TIDEGATE", b"TIDEGATF12345678", b"precious data that somebody still needs"] {
        fs::write(&place.table, content).unwrap();
        fs::set_permissions(&place.table, fs::Permissions::from_mode(0o600)).unwrap();
        refused(&place.table, REPLACE, TIDEGATE_ERR_LAYOUT, "is not a table");
    }
    fs::remove_file(&place.table).unwrap();
    place.made();
    place.set_word(EPOCH, NOW + 61 * SECOND);
    refused(&place.table, REPLACE, TIDEGATE_ERR_CLOCK, "made in the future");
    place.set_word(EPOCH, NOW + 59 * SECOND);
    open(&place.table, REPLACE).expect("who lost a race may have an earlier time");
    place.set_word(MONOTONIC_SHIFT, 5000 * SECOND);
    refused(&place.table, REPLACE, TIDEGATE_ERR_CLOCK, "another time namespace: its clock is 5000 s ahead");
    assert_eq!(place.names(), ["table"]);
}

fn a_table_from_before_a_reboot_is_replaced() {
    if !Path::new("/proc/sys/kernel/random/boot_id").exists() {
        return println!("no boot id here: not tested");
    }
    let place = Place::new("reboot");
    place.made();
    place.set_word(BOOT, 0x1234);
    let (status, text) = observe(&place.table).err().expect("an observer can't replace it");
    assert!(status == TIDEGATE_ERR_LAYOUT && text.contains("before the last reboot"), "{text}");
    let table = Table::open_file(&place.table, &SMALL, NOW).unwrap();
    let told: Vec<_> = events(&table).iter().map(|e| (e.kind.number(), e.value)).collect();
    assert_eq!(told, [(TIDEGATE_EVENT_TABLE_REPLACED, TIDEGATE_REPLACED_REBOOT)]);
    assert_eq!(place.names(), ["table"]);
}

fn another_time_namespace_is_refused() {
    let place = Place::new("timens");
    place.made();
    for offset in ["monotonic 5000 0", "boottime 5000 0"] {
        apart(|| {
            // SAFETY: concerns this child's future children only.
            let unshared = unsafe { libc::unshare(libc::CLONE_NEWTIME) } == 0;
            if !unshared || fs::write("/proc/self/timens_offsets", offset).is_err() {
                return println!("no time namespace can be made here: not tested");
            }
            apart(|| refused(&place.table, REPLACE, TIDEGATE_ERR_CLOCK, "its clock is 5000 s behind"));
        });
    }
}

fn every_prefix_of_a_table_is_refused() {
    let place = Place::new("prefixes");
    let whole = fs::read(place.made()).unwrap();
    let lengths = (0..=HEADER_BYTES + 8).chain([4095, 4096, 4097, whole.len() - 1]);
    for len in lengths {
        fs::write(&place.table, &whole[..len]).unwrap();
        let sentence = match len {
            ..16 => "is not a table",
            16..HEADER_BYTES => "within its header",
            _ => "are there",
        };
        refused(&place.table, SMALL, TIDEGATE_ERR_LAYOUT, sentence);
        assert_eq!(observe(&place.table).err().map(|e| e.0), Some(TIDEGATE_ERR_LAYOUT), "{len} bytes");
    }
}

fn random_headers_do_no_harm() {
    let place = Place::new("random");
    let tiny = FileOptions { upstreams: 1, peers: 4, workers: 2, events: 16, replace: false };
    drop(Table::open_file(&place.table, &tiny, NOW).unwrap());
    let whole = fs::read(&place.table).unwrap();
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let (mut opened, rounds) = (0, 3000);
    for round in 0..rounds {
        let mut bytes = whole.clone();
        // Rounds in turn: a few bytes of the header, a few anywhere, everything behind the magic number.
        match round % 3 {
            0 => (0..1 + random() % 4).for_each(|_| bytes[random() as usize % HEADER_BYTES] = random() as u8),
            1 => (0..200).for_each(|_| bytes[HEADER_BYTES + random() as usize % (whole.len() - 256)] = random() as u8),
            _ => bytes[HEADER_BYTES..].iter_mut().for_each(|b| *b = random() as u8),
        }
        fs::write(&place.table, &bytes).unwrap();
        let judged = [observe(&place.table), open(&place.table, tiny)];
        opened += judged.iter().filter(|t| t.is_ok()).count();
        for table in judged.iter().flatten() {
            status(table);
        }
    }
    assert!((rounds..2 * rounds).contains(&opened), "{opened} of {} opened: the test reaches both sides", 2 * rounds);
}

fn an_observer_reads_and_cannot_write() {
    let place = Place::new("observer");
    let writer = Table::open_file(&place.table, &SMALL, NOW).unwrap();
    let upstream = writer.open_upstream(b"app", &Policy::default()).unwrap();
    let observer = observe(&place.table).unwrap();
    // What is written later is seen too.
    let peers = writer.set_peers(upstream, &specs(&[peer(1), peer(2)]), NOW).unwrap();
    eject_one(&open(&place.table, SMALL).unwrap());
    let before = fs::read(&place.table).unwrap();
    assert_eq!(status(&observer).matches("\"health\":\"ejected\"").count(), 1);
    // SAFETY: live handles and all-zero structs of the ABI with their size.
    unsafe {
        let mut info: tidegate_peer_info = std::mem::zeroed();
        info.struct_size = size_of_val(&info);
        checked(tidegate_peer_describe(observer.0, peers[0].number(), NOW, &mut info)).unwrap();
        assert_eq!((info.peer, info.upstream), (peers[0].number(), upstream.number()));
        let mut event: tidegate_event = std::mem::zeroed();
        event.struct_size = size_of_val(&event);
        let (mut cursor, mut kinds) = (0, vec![]);
        while tidegate_table_next_event(observer.0, &mut cursor, &mut event) == TIDEGATE_OK {
            kinds.push(event.kind);
        }
        assert_eq!(kinds, [TIDEGATE_EVENT_MEMBERSHIP, TIDEGATE_EVENT_PEER_EJECTED]);
        let (mut id, mut handle) = (0, 0);
        checked(tidegate_upstream_find(observer.0, c"app".as_ptr(), 3, &mut id)).unwrap();
        checked(tidegate_upstream_peer_at(observer.0, id, 1, &mut handle)).unwrap();
        assert_eq!(handle, peers[1].number());

        let read_only = |status| assert_eq!(status, TIDEGATE_ERR_READ_ONLY);
        read_only(tidegate_upstream_open(observer.0, c"app".as_ptr(), 3, std::ptr::null(), &mut id));
        read_only(tidegate_upstream_open(observer.0, c"new".as_ptr(), 3, std::ptr::null(), &mut id));
        read_only(tidegate_upstream_set_peers(observer.0, id, std::ptr::null(), 0, NOW, null_mut()));
        read_only(tidegate_peer_set_admin(observer.0, handle, TIDEGATE_ADMIN_DRAINING, NOW));
        let mut worker = null_mut();
        read_only(tidegate_worker_join(observer.0, std::ptr::null(), NOW, &mut worker));
        assert!(worker.is_null());
    }
    let reading = Table::open_file_read_only(&place.table).unwrap();
    assert!(reading.join().is_err() && reading.reclaim(NOW) == 0);
    assert_eq!(fs::read(&place.table).unwrap(), before, "an observer changes no byte");
    let (status, text) = observe(&place.dir.join("none")).err().unwrap();
    assert!(status == TIDEGATE_ERR_SYSTEM && text.contains("No such file"), "{text}");
    assert_eq!(place.names(), ["table"], "an observer makes no table");
}

fn other_things_in_its_place_are_refused() {
    let place = Place::new("other-things");
    let both = |path: &Path, status: tidegate_status, sentence: &str| {
        for got in [open(path, REPLACE), observe(path)] {
            let (got, text) = got.err().expect("is refused");
            assert!(got == status && text.contains(sentence), "{got}: {text}");
        }
    };
    let link = place.dir.join("link");
    symlink("table", &link).unwrap();
    both(&link, TIDEGATE_ERR_SYSTEM, "a symbolic link is not followed");
    place.made();
    both(&link, TIDEGATE_ERR_SYSTEM, "a symbolic link is not followed");
    fs::remove_file(&link).unwrap();
    assert_eq!(open(&place.dir, SMALL).err().unwrap().0, TIDEGATE_ERR_SYSTEM);
    assert!(observe(&place.dir).err().unwrap().1.contains("is not a regular file"));
    let fifo = place.dir.join("fifo");
    let name = std::ffi::CString::new(fifo.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: a string that ends in a NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    both(&fifo, TIDEGATE_ERR_INVALID, "is not a regular file");
    fs::remove_file(&fifo).unwrap();
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&place.table, fs::Permissions::from_mode(mode)).unwrap();
        refused(&place.table, REPLACE, TIDEGATE_ERR_INVALID, &format!("has mode {mode:04o}"));
        observe(&place.table).expect("an observer risks only itself");
    }
    fs::set_permissions(&place.table, fs::Permissions::from_mode(0o600)).unwrap();
    // As another user than root, where we may.
    if std::os::unix::fs::chown(&place.table, Some(65534), None).is_ok() && place.dir.metadata().unwrap().uid() == 0 {
        refused(&place.table, REPLACE, TIDEGATE_ERR_INVALID, "belongs to user 65534");
    }
    let missing = place.dir.join("no such directory").join("table");
    assert!(open(&missing, SMALL).err().unwrap().1.contains("No such file"));
    assert_eq!(open(Path::new(""), SMALL).err().unwrap().0, TIDEGATE_ERR_INVALID);
    assert_eq!(open(Path::new("a\0b"), SMALL).err().unwrap().0, TIDEGATE_ERR_INVALID);
    assert_eq!(open(Path::new(&"x".repeat(5000)), SMALL).err().unwrap().0, TIDEGATE_ERR_SYSTEM);
    assert_eq!(place.names(), ["table"]);
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: `limit` is valid.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

fn limits_are_errors_and_leave_nothing() {
    let place = Place::new("limits");
    let system = |sentence: &str| {
        let (status, text) = open(&place.table, SMALL).err().expect("fails");
        assert!(status == TIDEGATE_ERR_SYSTEM && text.contains(sentence), "{status}: {text}");
    };
    apart(|| {
        limit(libc::RLIMIT_FSIZE, 4096);
        system("File too large");
    });
    apart(|| {
        limit(libc::RLIMIT_NOFILE, 3);
        system("Too many open files");
    });
    apart(|| {
        limit(libc::RLIMIT_AS, 4096);
        system("Cannot allocate memory");
    });
    assert_eq!(place.names(), [""; 0], "nothing is left of any of them");
    place.made();
    let content = fs::read(&place.table).unwrap();
    apart(|| {
        limit(libc::RLIMIT_AS, 4096);
        system("Cannot allocate memory");
    });
    apart(|| {
        fs::set_permissions(&place.table, fs::Permissions::from_mode(0o400)).unwrap();
        // SAFETY: gives up root's power to open anything, where we have it.
        let root = unsafe { libc::geteuid() == 0 && libc::setresuid(65534, 65534, 65534) == 0 };
        system("Permission denied");
        if !root {
            observe(&place.table).expect("reading is allowed");
        }
    });
    assert_eq!((place.names(), fs::read(&place.table).unwrap()), (vec!["table".into()], content));
}

fn full_and_read_only_file_systems_are_errors() {
    let place = Place::new("full");
    apart(|| {
        let dir = std::ffi::CString::new(place.dir.as_os_str().as_encoded_bytes()).unwrap();
        let tmpfs = c"tmpfs".as_ptr();
        let mount = |flags: u64, data: &std::ffi::CStr| {
            // SAFETY: strings that end in NULs; concerns this child's own mount namespace.
            unsafe { libc::mount(tmpfs, dir.as_ptr(), tmpfs, flags, data.as_ptr().cast()) == 0 }
        };
        // SAFETY: as above.
        let apart = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(tmpfs, c"/".as_ptr(), tmpfs, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) == 0
        };
        if !apart || !mount(0, c"size=64k") {
            return println!("nothing can be mounted here: not tested");
        }
        let (status, text) = open(&place.table, SMALL).err().expect("does not fit");
        assert!(status == TIDEGATE_ERR_SYSTEM && text.contains("No space left on device"), "{text}");
        assert_eq!(place.names(), [""; 0]);
        // A table that is to be replaced stays if there is no room for its successor.
        assert!(mount(libc::MS_REMOUNT, c"size=2m"));
        place.made();
        place.set_word(VERSION, 7);
        refused(&place.table, REPLACE, TIDEGATE_ERR_SYSTEM, "No space left on device");
        place.set_word(VERSION, 3);
        assert!(mount(libc::MS_REMOUNT | libc::MS_RDONLY, c"size=2m"));
        refused(&place.table, SMALL, TIDEGATE_ERR_SYSTEM, "Read-only file system");
        observe(&place.table).expect("reading is allowed");
        let (status, text) = open(&place.dir.join("other table"), SMALL).err().expect("nothing can be made");
        assert!(status == TIDEGATE_ERR_SYSTEM && text.contains("Read-only file system"), "{text}");
        assert_eq!(place.names(), ["table"]);
    });
}

fn killed_creators_leave_nothing_half_made() {
    let place = Place::new("killed");
    for n in 0..200u32 {
        let (mut told, teller) = std::io::pipe().unwrap();
        let child = fork(|| {
            // Makes, replaces and removes tables until it is killed.
            for round in 0.. {
                let options = FileOptions { peers: 64 + round % 3, ..REPLACE };
                drop(Table::open_file(&place.table, &options, NOW).unwrap());
                if round % 3 == 2 {
                    fs::remove_file(&place.table).unwrap();
                }
                std::io::Write::write_all(&mut &teller, b".").unwrap();
            }
        });
        drop(teller);
        std::io::Read::read_exact(&mut told, &mut vec![0; 1 + n as usize % 7]).unwrap();
        (0..n * 1000).for_each(|_| std::hint::spin_loop());
        // SAFETY: signals a child of ours that has not been waited for.
        unsafe { libc::kill(child, libc::SIGKILL) };
        assert!(libc::WIFSIGNALED(wait(child)), "it was alive until it was killed");
        let names = place.names();
        assert!(names.iter().all(|n| n == "table" || n == "table.new"), "{names:?}");
        for name in &names {
            open(&place.dir.join(name), FileOptions::default()).expect("whatever has a name is whole");
        }
    }
    for peers in [98, 99] {
        Table::open_file(&place.table, &FileOptions { peers, ..REPLACE }, NOW).unwrap();
    }
    assert_eq!(place.names(), ["table"], "the next replacement clears up");
}
