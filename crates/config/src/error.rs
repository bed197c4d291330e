//! What is wrong with a configuration, and where: every error and every warning carries its file and
//! line. Messages are sentences for the person who wrote the file; none repeats a value that may be
//! secret.

use std::fmt;

/// One reason why the configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named, or where else the setting came from.
    pub file: String,
    /// The line in it, from 1; 0 when the error belongs to no line.
    pub line: u32,
    /// What was found and what was expected.
    pub message: String,
}

/// Something that is accepted but probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file as it was named, or where else the setting came from.
    pub file: String,
    /// The line in it, from 1; 0 when the warning belongs to no line.
    pub line: u32,
    /// What was found and what becomes of it.
    pub message: String,
}

/// Every error of a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(
    /// The errors.
    pub Vec<ConfigError>,
);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_placed(f, &self.file, self.line, &self.message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_placed(f, &self.file, self.line, &self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl std::error::Error for ConfigErrors {}

/// A line of a file, or a source without lines (`line` 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl Place {
    pub(crate) fn of_file(file: &str) -> Place {
        Place {
            file: file.to_owned(),
            line: 0,
        }
    }

    pub(crate) fn error(&self, message: String) -> ConfigError {
        ConfigError {
            file: self.file.clone(),
            line: self.line,
            message,
        }
    }

    pub(crate) fn warning(&self, message: String) -> Warning {
        Warning {
            file: self.file.clone(),
            line: self.line,
            message,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}", self.file, self.line)
        }
    }
}

fn write_placed(f: &mut fmt::Formatter<'_>, file: &str, line: u32, message: &str) -> fmt::Result {
    if line == 0 {
        write!(f, "{file}: {message}")
    } else {
        write!(f, "{file}:{line}: {message}")
    }
}
