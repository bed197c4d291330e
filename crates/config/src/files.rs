//! The files that a configuration consists of. Reads are bounded; nothing is interpreted here.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest configuration file in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most files of an `include_dir`.
const INCLUDED_FILES_MAX: usize = 1_000;

/// Whether other files can be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    Disk,
    None,
}

impl Files {
    pub(crate) fn exists(self, path: &Path) -> bool {
        self == Files::Disk && path.exists()
    }
}

/// The bytes of one configuration file.
///
/// # Errors
/// Why it cannot be read, in prose, without its name.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    if path.is_dir() {
        return Err("this is a directory, not a configuration file".to_owned());
    }
    let file =
        File::open(path).map_err(|error| format!("cannot open the configuration file: {error}"))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the configuration file: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// The files `*.conf` of a directory, sorted without regard to case as Mosquitto does.
///
/// # Errors
/// Why the directory cannot be read, in prose, with its name.
pub(crate) fn conf_files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable =
        |error: std::io::Error| format!("cannot read the directory '{}': {error}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let text = name.to_string_lossy().into_owned();
        if text.len() > ".conf".len() && text.ends_with(".conf") {
            names.push((text.to_ascii_lowercase(), name));
        }
        if names.len() > INCLUDED_FILES_MAX {
            let dir = dir.display();
            return Err(format!(
                "the directory '{dir}' has more than {INCLUDED_FILES_MAX} configuration files"
            ));
        }
    }
    names.sort();
    Ok(names.into_iter().map(|(_, name)| dir.join(name)).collect())
}
