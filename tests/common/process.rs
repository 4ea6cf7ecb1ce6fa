//! Real processes by fork(): only for test programs with a `main` of their own, which have one thread.

#![allow(unsafe_code)]

/// Runs `child` in a forked process; a panic there is exit status 101.
pub fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
        }
        pid => {
            assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
            pid
        }
    }
}

/// Waits for a child: its status.
pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for a child of ours.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// Zeroed memory that this process and those forked from it share, apart from any table. Never unmapped.
pub fn shared_words(count: usize) -> &'static [std::sync::atomic::AtomicU64] {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, zeroed, of whole pages, checked; atomics take any bits.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), count * 8, access, flags, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        std::slice::from_raw_parts(memory.cast(), count)
    }
}
