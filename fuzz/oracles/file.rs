//! Files that are not, or no longer, tables: a file with any bytes in its header and any length is attached to, refused,
//! or replaced, and nothing but the one who asked for a replacement changes it.
//!
//! The input patches the words of a whole table and says where the file ends; what lies beyond the patched words is a
//! table's, so that attaching gets far.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::OnceLock;
use tidegate::ffi::status::tidegate_table_write_status;
use tidegate::ffi::table::*;
use tidegate::ffi::upstream::tidegate_upstream_open;

const NOW: u64 = 1_000_000_000_000;

struct Place {
    path: PathBuf,
    c_path: CString,
    whole: Vec<u8>,
}

/// One file a process, on a tmpfs where there is one.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let shm = PathBuf::from("/dev/shm");
        let dir = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let path = dir.join(format!("tidegate-fuzz-{}.table", std::process::id()));
        let c_path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
        let _ = std::fs::remove_file(&path);
        let mut table = null_mut();
        // SAFETY: pointers to locals; the handle is freed here.
        unsafe {
            assert_eq!(
                tidegate_table_open(
                    c_path.as_ptr(),
                    c_path.count_bytes(),
                    &options(TIDEGATE_MISMATCH_REFUSE),
                    NOW,
                    &mut table
                ),
                0
            );
            let mut id = 0;
            assert_eq!(tidegate_upstream_open(table, c"app".as_ptr(), 3, std::ptr::null(), &mut id), 0);
            tidegate_table_free(table);
        }
        let whole = std::fs::read(&path).expect("the table");
        Place { path, c_path, whole }
    })
}

fn options(on_mismatch: u32) -> tidegate_table_options {
    // SAFETY: integers only.
    let mut options: tidegate_table_options = unsafe { std::mem::zeroed() };
    options.struct_size = size_of::<tidegate_table_options>();
    (options.max_upstreams, options.max_peers, options.max_workers, options.events) = (2, 8, 2, 16);
    options.on_mismatch = on_mismatch;
    options
}

/// Opens one damaged file in every way.
pub fn run(data: &[u8]) {
    let [mode, length_low, length_high, patches @ ..] = data else { return };
    let place = place();
    let mut bytes = place.whole.clone();
    for patch in patches.chunks_exact(3) {
        // Three of four patches hit the header.
        let word = if patch[0] & 3 != 0 { usize::from(patch[1]) % 32 } else { usize::from(patch[1]) * 16 };
        let value = match patch[0] >> 2 & 3 {
            0 => u64::from(patch[2]),
            1 => u64::MAX >> (patch[2] & 63),
            2 => u64::from(patch[2]) << 56 | 0xffff_ffff,
            _ => 1 << (patch[2] & 63),
        };
        if let Some(to) = bytes.get_mut(word * 8..word * 8 + 8) {
            to.copy_from_slice(&value.to_ne_bytes());
        }
    }
    let length = usize::from(*length_low) | usize::from(*length_high) << 8;
    if length != 0 {
        bytes.truncate(length * 16);
    }
    let _ = std::fs::remove_file(&place.path);
    let file = File::create_new(&place.path).expect("a new file");
    file.write_all_at(&bytes, 0).expect("room for it");

    let (path, len) = (place.c_path.as_ptr(), place.c_path.count_bytes());
    let mut table = null_mut();
    // SAFETY: pointers to locals and a path that stays; handles are freed at once.
    unsafe {
        if tidegate_table_open_read_only(path, len, &mut table) == 0 {
            read(table);
        }
        // Refused, or attached to: the header and the length are as they were.
        if tidegate_table_open(path, len, &options(TIDEGATE_MISMATCH_REFUSE), NOW, &mut table) == 0 {
            read(table);
        } else {
            assert!(std::fs::read(&place.path).is_ok_and(|now| now == bytes), "a refused file is left alone");
        }
        if mode & 1 != 0 && tidegate_table_open(path, len, &options(TIDEGATE_MISMATCH_REPLACE), NOW, &mut table) == 0 {
            read(table);
        }
    }
    let _ = std::fs::remove_file(&place.path);
}

/// # Safety
/// A live handle, which ends here.
unsafe fn read(table: *mut tidegate_table) {
    let mut text = vec![0; 1 << 14];
    let mut needed = 0;
    // SAFETY: the caller's handle, and locals.
    unsafe {
        tidegate_table_write_status(table, 1, NOW, text.as_mut_ptr(), text.len(), &mut needed);
        tidegate_table_free(table);
    }
}
