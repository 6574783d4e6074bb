//! Memory that the process holds and does not use, given back to the system.
//!
//! The start parses certificates, builds documents and opens the store; once it serves, the process
//! needs little of that. The allocator keeps what was freed until it works again, and pages of code
//! that only the start has run stay mapped, so that an idle process would look 15 MB larger than
//! what it needs.

use std::ops::Range;

/// Gives back what the calling thread has freed, and the pages of code that were not changed: those
/// that are needed are mapped again when they are used, without being read again.
pub(crate) fn release() {
    collect();
    // Where the list can't be read, the pages stay.
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    clean_files(&maps).into_iter().for_each(unmap);
}

fn collect() {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        /// From `mimalloc.h`: frees what is unused in the calling thread's heap, and with `force`
        /// returns it to the system.
        fn mi_collect(force: bool);
    }
    // SAFETY: the function may be called at any time; what is in use stays.
    #[allow(unsafe_code)]
    unsafe {
        mi_collect(true);
    }
}

/// Drops the pages of a range of [`clean_files`].
fn unmap(range: Range<usize>) {
    // SAFETY: the range is a mapping of a file that is not writable, and none of its pages differs
    // from the file, so that each is read from there again when it is used. Mappings of code and
    // constants stay for as long as the process runs. Where the kernel refuses, the pages stay.
    #[allow(unsafe_code)]
    let _ = unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
}

/// Returns the mappings of files in `/proc/PID/smaps` (proc_pid_smaps(5)) that can't be written and
/// of which no page was: code and constants, but not what the dynamic linker has relocated.
fn clean_files(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(start) = file_mapping(line) {
            mapping = start;
        } else if line.split_ascii_whitespace().eq(["Anonymous:", "0", "kB"]) {
            found.extend(mapping.take());
        }
    }
    found
}

/// Parses the first line of a mapping, `START-END PERMISSIONS OFFSET DEVICE INODE PATH`. `None` if
/// the line is another one, `Some(None)` for a mapping of no file or one that can be written.
fn file_mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let range = number(start)?..number(end)?;
    let is_clean = matches!(words.next()?, "r-xp" | "r--p") && words.nth(3).is_some_and(|path| path.starts_with('/'));
    Some(is_clean.then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0a000-55d0c000 r--p 00000000 fe:00 10223829                   /usr/bin/llm-proxy
Rss:                  8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d0c000-55d0f000 r-xp 00002000 fe:00 10223829                   /usr/bin/llm-proxy
Anonymous:             4 kB
55d0f000-55d10000 r-xp 00005000 fe:00 10223829                   /usr/bin/llm-proxy
AnonHugePages:         0 kB
Anonymous:             0 kB
55d10000-55d11000 rw-p 00006000 fe:00 10223829                   /usr/bin/llm-proxy
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffd000000-7ffd001000 r-xp 00000000 00:00 0                      [vdso]
Anonymous:             0 kB
7f1000-7f2000 r--s 00000000 fe:00 7                              /data/llm-proxy.db-shm
Anonymous:             0 kB
";

    #[test]
    fn only_unchanged_pages_of_files_are_dropped() {
        assert_eq!(clean_files(SMAPS), vec![0x55d0a000..0x55d0c000, 0x55d0f000..0x55d10000]);
        assert!(clean_files("Anonymous: 0 kB\n").is_empty());
    }

    #[test]
    fn the_process_goes_on() {
        let kept: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        release();
        assert!(kept.iter().enumerate().all(|(n, line)| *line == format!("line {n}")));
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!clean_files(&maps).is_empty());
    }
}
