//! Reads the text of a configuration file, with a bound: a device such as `/dev/zero` never ends.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The most bytes of a configuration file.
pub const MAX_BYTES: u64 = 256 << 20;

/// Reads the file at `path`. The error is a clause without its subject.
pub fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => "is no text in UTF-8".to_owned(),
        _ => format!("can't be read: {error}"),
    };
    let file = File::open(path).map_err(unreadable)?;
    let kind = file.metadata().map_err(unreadable)?.file_type();
    // A pipe is read until its writer closes it: `CONFIG_FILE=<(...)` of a shell is one.
    let is_device =
        std::os::unix::fs::FileTypeExt::is_char_device(&kind) || std::os::unix::fs::FileTypeExt::is_block_device(&kind);
    if is_device && path != Path::new("/dev/null") {
        return Err("is a device; name a file".to_owned());
    }
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    match read.map_err(unreadable)? as u64 {
        bytes if bytes > MAX_BYTES => Err(format!("is larger than {} MiB", MAX_BYTES >> 20)),
        _ => Ok(text),
    }
}
