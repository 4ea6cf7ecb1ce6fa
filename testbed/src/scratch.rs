//! A private directory that goes away with its owner, except when a test panics: then it stays, for whoever asks why.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of mode 0700, under the system's temporary one or on a tmpfs.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates it; `what` is part of its name.
    ///
    /// # Panics
    /// If it can't be created: no test could go on.
    pub fn new(what: &str) -> Scratch {
        Scratch::under(&std::env::temp_dir(), what)
    }

    /// The same on a tmpfs, where there is one.
    ///
    /// # Panics
    /// As `new`.
    pub fn in_memory(what: &str) -> Scratch {
        let tmpfs = Path::new("/dev/shm");
        if tmpfs.is_dir() { Scratch::under(tmpfs, what) } else { Scratch::new(what) }
    }

    fn under(directory: &Path, what: &str) -> Scratch {
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("tidegate-{what}-{}-{n}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Scratch(path),
                // Left by an earlier process with this id.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("cannot create {}: {e}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for inspection: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);
