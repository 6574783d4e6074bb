//! The log file, and the rotated ones.
//!
//! The file always ends with a complete line: a part of a line, left by a crash, is removed when
//! the file is opened, and one left by a full disk when the write fails. The file is locked, so
//! that two processes never write to it at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of one read in the search for the end of the last line.
const STEP: u64 = 64 << 10;

pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Bytes of complete lines.
    size: u64,
    /// Whether a part of a line may follow them.
    torn: bool,
}

impl Log {
    /// Opens the file, or creates it with `mode`, and its directory.
    pub(super) fn open(path: &Path, mode: u32) -> io::Result<Log> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().append(true).read(true).create(true).mode(mode).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process writes to it")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let size = whole_lines(&mut file)?;
        file.set_len(size)?;
        Ok(Log { path: path.to_owned(), file, size, torn: false })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Writes the lines of several records, which end at `ends`. A record without room on the disk
    /// leaves nothing behind. Returns how many records were written.
    pub(super) fn append(&mut self, lines: &[u8], ends: &[usize]) -> (usize, io::Result<()>) {
        if self.torn {
            if let Err(error) = self.file.set_len(self.size) {
                return (0, Err(error));
            }
            self.torn = false;
        }
        let mut done = 0;
        let mut result = Ok(());
        while done < lines.len() && result.is_ok() {
            match self.file.write(&lines[done..]) {
                Ok(0) => result = Err(ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        let records = ends.iter().take_while(|end| **end <= done).count();
        let kept = records.checked_sub(1).map_or(0, |last| ends[last]);
        self.size += kept as u64;
        if kept < done {
            self.torn = self.file.set_len(self.size).is_err();
        }
        (records, result)
    }

    /// Returns whether the path still leads to this file. Another process may have moved or removed
    /// it.
    pub(super) fn is_in_place(&self) -> bool {
        let (Ok(here), Ok(there)) = (self.file.metadata(), fs::metadata(&self.path)) else { return false };
        (here.dev(), here.ino()) == (there.dev(), there.ino())
    }
}

/// Returns the number of bytes up to the end of the last line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        buffer.clear();
        (&mut *file).take(end - start).read_to_end(&mut buffer)?;
        if let Some(at) = memchr::memrchr(b'\n', &buffer) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The rotated files beside the one at `path`: its name, then the time
/// (`requests.jsonl.20260123T193000.000Z`), then `.gz` if compressed.
#[derive(Debug, Clone)]
pub(super) struct RotatedFiles {
    pub path: PathBuf,
    pub keep: usize,
    pub gzip: bool,
    /// The time in the last name, in milliseconds since 1970.
    last_ms: u64,
}

const GZ: &str = ".gz";
/// The end of the name of a file that is being compressed.
const PART: &str = ".part";

impl RotatedFiles {
    pub(super) fn new(path: PathBuf, keep: usize, gzip: bool) -> RotatedFiles {
        RotatedFiles { path, keep, gzip, last_ms: 0 }
    }

    /// Renames the file at the path. `ms` is the time in milliseconds since 1970.
    ///
    /// However fast files fill, each name is new and later than the one before. The free name of a
    /// file that was removed meanwhile would make the newest file the oldest.
    pub(super) fn rotate(&mut self, ms: u64) -> io::Result<()> {
        let name = |ms: u64| with(&self.path, &format!(".{}", stamp(ms)));
        let free = |ms: &u64| !name(*ms).exists() && !with(&name(*ms), GZ).exists();
        let Some(ms) = (ms.max(self.last_ms + 1)..).find(free) else { return Ok(()) };
        fs::rename(&self.path, name(ms))?;
        self.last_ms = ms;
        Ok(())
    }

    /// Compresses the files if that is configured, and removes the oldest ones.
    pub(super) fn clean_up(&self) -> io::Result<()> {
        let files = self.files()?;
        for old in &files[..files.len().saturating_sub(self.keep)] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.gzip {
            for plain in self.files()?.iter().filter(|path| path.extension().is_none_or(|end| end != "gz")) {
                compress(plain)?;
            }
        }
        Ok(())
    }

    /// Returns the files in the order of their times.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let directory = self.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir(directory.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let own = entry.file_name();
            let own = own.to_string_lossy();
            let rest = own.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
            if rest.is_some_and(|rest| is_stamp(rest.strip_suffix(GZ).unwrap_or(rest))) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Formats a time as `20260123T193000.000Z`, which sorts by time and is valid in file names.
fn stamp(ms: u64) -> String {
    crate::control_plane::sinks::timestamp::iso(ms * 1000).replace(['-', ':'], "")
}

fn is_stamp(text: &str) -> bool {
    let shape = b"00000000T000000.000Z";
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, of)| if *of == b'0' { byte.is_ascii_digit() } else { byte == *of })
}

/// Replaces a file by its compressed form of the same mode, atomically. One that a crash left
/// incomplete is written again.
fn compress(path: &Path) -> io::Result<()> {
    let (part, whole) = (with(path, PART), with(path, GZ));
    let mode = fs::metadata(path)?.mode() & 0o777;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&part)?;
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let made = io::copy(&mut File::open(path)?, &mut encoder).and_then(|_| encoder.finish());
    match made.and_then(|_| fs::rename(&part, &whole)) {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rotated: &RotatedFiles) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        rotated.files().unwrap().iter().map(name).collect()
    }

    #[test]
    fn incomplete_last_line_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/down/log");
        let long = "x".repeat(200_000);
        let rows = [
            (String::new(), 0),
            ("a\n".into(), 2),
            ("a\nb".into(), 2),
            ("no line".into(), 0),
            (format!("a\n{long}"), 2),
            (format!("{long}\n{long}"), 200_001),
        ];
        for (before, size) in rows {
            drop(Log::open(&path, 0o600).unwrap());
            fs::write(&path, &before).unwrap();
            let mut log = Log::open(&path, 0o600).unwrap();
            assert_eq!((log.size(), fs::metadata(&path).unwrap().len()), (size, size));
            assert!(matches!(log.append(b"more\n", &[5]), (1, Ok(()))));
            let after = fs::read_to_string(&path).unwrap();
            assert_eq!(after, format!("{}more\n", &before[..size as usize]));
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let first = Log::open(&path, 0o600).unwrap();
        assert_eq!(Log::open(&path, 0o600).err().unwrap().to_string(), "another process writes to it");
        assert!(first.is_in_place());
        fs::rename(&path, dir.path().join("moved")).unwrap();
        assert!(!first.is_in_place());
        let second = Log::open(&path, 0o600).unwrap();
        assert!(second.is_in_place() && !first.is_in_place());
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut rotated = RotatedFiles::new(dir.path().join("a.jsonl"), 2, false);
        // Names of others, which are left alone.
        for other in ["a.jsonl.1", "a.jsonl.gz", "b.jsonl.20260123T193000.000Z", "a.jsonl.20260123T193000.000Z.bak"] {
            fs::write(dir.path().join(other), "other").unwrap();
        }
        for text in ["one\n", "two\n", "three\n"] {
            fs::write(&rotated.path, text).unwrap();
            rotated.rotate(1_769_196_600_000).unwrap();
        }
        assert!(!rotated.path.exists());
        rotated.clean_up().unwrap();
        assert_eq!(names(&rotated), ["a.jsonl.20260123T193000.001Z", "a.jsonl.20260123T193000.002Z"]);

        rotated.gzip = true;
        fs::write(dir.path().join("a.jsonl.20260123T193000.001Z.part"), "left by a crash").unwrap();
        rotated.clean_up().unwrap();
        assert_eq!(names(&rotated), ["a.jsonl.20260123T193000.001Z.gz", "a.jsonl.20260123T193000.002Z.gz"]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(&rotated.files().unwrap()[1]).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "three\n");
        assert!(!dir.path().join("a.jsonl.20260123T193000.001Z.part").exists());

        // The name of the first is free again.
        fs::write(&rotated.path, "four\n").unwrap();
        rotated.rotate(1_769_196_600_000).unwrap();
        assert_eq!(names(&rotated)[2], "a.jsonl.20260123T193000.003Z");
        rotated.keep = 0;
        rotated.clean_up().unwrap();
        assert_eq!(names(&rotated), [""; 0]);
        assert!(dir.path().join("a.jsonl.1").exists());
    }
}
