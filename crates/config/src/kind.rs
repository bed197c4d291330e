//! The kinds of values that keys take, each with the function that puts a value where it belongs.
//! `T` is what is written to: the draft of the whole configuration, the options of one listener, or
//! the security options that both of them have.

use std::path::{Path, PathBuf};

use crate::files::Files;
use crate::values::{Range, parse_bool, parse_duration, parse_int, parse_size, shown, split_word};

/// A kind of value and its setter.
pub(crate) enum Kind<T: 'static> {
    Bool(fn(&mut T, bool)),
    Int(Range, fn(&mut T, i64)),
    /// A number of bytes.
    Size(Range, fn(&mut T, i64)),
    /// Seconds.
    Duration(fn(&mut T, u64)),
    /// The rest of the line, at most so many bytes.
    Text(usize, fn(&mut T, String)),
    /// The rest of the line as a path.
    Path(fn(&mut T, PathBuf)),
    /// One of these words.
    Word(Words<T>),
    /// One of these words, or `file` and a path. The setter is false when there is a file already.
    WordOrFile(Words<T>, fn(&mut T, PathBuf) -> bool),
}

pub(crate) type Words<T> = &'static [(&'static str, Choice<T>)];

/// What a word does.
pub(crate) enum Choice<T: 'static> {
    Set(fn(&mut T)),
    /// Mosquitto or a later release has it; the text says what is to come.
    Later(&'static str),
}

/// A value as it was written.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    /// The key as it was written, which may be an alias.
    pub(crate) key: &'a str,
    /// The rest of the line, without blanks around it.
    pub(crate) text: &'a str,
    pub(crate) files: Files,
}

impl<T: 'static> Kind<T> {
    /// Sets the value in `target`. Returns what should be warned of.
    ///
    /// # Errors
    /// What was found and what was expected; `target` is then unchanged.
    pub(crate) fn apply(
        &self,
        target: &mut T,
        written: Written<'_>,
    ) -> Result<Option<String>, String> {
        if written.text.is_empty() {
            return Err(format!(
                "'{}' has no value; expected {}",
                written.key,
                self.expected()
            ));
        }
        match self {
            Kind::Text(bytes_max, set) => {
                if written.text.len() > *bytes_max {
                    let found = written.text.len();
                    return Err(format!(
                        "'{}' is {found} bytes long; expected {}",
                        written.key,
                        self.expected()
                    ));
                }
                set(target, written.text.to_owned());
                Ok(None)
            }
            Kind::Path(set) => {
                let (path, warning) = written.path();
                set(target, path);
                Ok(warning)
            }
            Kind::WordOrFile(_, set) => self.apply_word_or_file(*set, target, written),
            Kind::Bool(_) | Kind::Int(..) | Kind::Size(..) | Kind::Duration(_) | Kind::Word(_) => {
                let (word, rest) = split_word(written.text);
                self.apply_word(target, written.key, word)?;
                Ok(ignored_rest(written.key, rest))
            }
        }
    }

    /// The kinds whose value is the first word; the rest of the line may be a comment.
    fn apply_word(&self, target: &mut T, key: &str, word: &str) -> Result<(), String> {
        let wrong = || {
            Err(format!(
                "'{key}' is '{}'; expected {}",
                shown(word),
                self.expected()
            ))
        };
        match self {
            Kind::Bool(set) => match parse_bool(word) {
                Some(value) => set(target, value),
                None => return wrong(),
            },
            Kind::Int(range, set) => match parse_int(word).and_then(|value| range.check(value)) {
                Some(value) => set(target, value),
                None => return wrong(),
            },
            Kind::Size(range, set) => match parse_size(word).and_then(|value| range.check(value)) {
                Some(value) => set(target, value),
                None => return wrong(),
            },
            Kind::Duration(set) => match parse_duration(word) {
                Some(value) => set(target, value),
                None => return wrong(),
            },
            Kind::Word(words) | Kind::WordOrFile(words, _) => {
                match words.iter().find(|(name, _)| *name == word) {
                    Some((_, Choice::Set(set))) => set(target),
                    Some((_, Choice::Later(why))) => {
                        return Err(format!(
                            "'{key} {word}' is not available in this release: {why}"
                        ));
                    }
                    None => return wrong(),
                }
            }
            Kind::Text(..) | Kind::Path(_) => return wrong(),
        }
        Ok(())
    }

    fn apply_word_or_file(
        &self,
        set: fn(&mut T, PathBuf) -> bool,
        target: &mut T,
        written: Written<'_>,
    ) -> Result<Option<String>, String> {
        let (word, rest) = split_word(written.text);
        if word != "file" {
            return self.apply_word(target, written.key, word).map(|()| None);
        }
        if rest.is_empty() {
            return Err(format!("'{} file' needs a path behind it", written.key));
        }
        let (path, warning) = Written {
            text: rest,
            ..written
        }
        .path();
        if set(target, path) {
            Ok(warning)
        } else {
            Err(format!("'{} file' is written twice", written.key))
        }
    }

    /// Whether writing the key twice in one scope is an error, as it is for texts in Mosquitto.
    pub(crate) fn only_once(&self) -> bool {
        matches!(self, Kind::Text(..) | Kind::Path(_))
    }

    /// What a value looks like, for messages and for the reference page.
    pub(crate) fn expected(&self) -> String {
        match *self {
            Kind::Bool(_) => "true or false".to_owned(),
            Kind::Int(range, _) => format!("a number {range}"),
            Kind::Size(range, _) => format!("a number of bytes {range}; K, M or G may follow"),
            Kind::Duration(_) => {
                "a number and its unit s, h, d, w, m (30 days) or y (365 days), such as 7d"
                    .to_owned()
            }
            Kind::Text(bytes_max, _) => format!("a text of at most {bytes_max} bytes"),
            Kind::Path(_) => "a path".to_owned(),
            Kind::Word(words) => one_of(words, None),
            Kind::WordOrFile(words, _) => one_of(words, Some("file PATH")),
        }
    }
}

impl Written<'_> {
    /// The whole text is the path, ` #` included, unless only the part before it exists.
    pub(crate) fn path(self) -> (PathBuf, Option<String>) {
        let whole = PathBuf::from(self.text);
        let Some((before, _)) = self.text.split_once(" #") else {
            return (whole, None);
        };
        let before = before.trim_end();
        if !self.files.exists(&whole) && self.files.exists(Path::new(before)) {
            let warning = format!(
                "'{}' is '{}'; what follows is taken for a comment",
                self.key,
                shown(before)
            );
            return (PathBuf::from(before), Some(warning));
        }
        let warning = format!(
            "the whole rest of the line is the value of '{}': no comment can stand there",
            self.key
        );
        (whole, Some(warning))
    }
}

/// Mosquitto reads the first word only and is silent about the rest; we say what we do not read.
pub(crate) fn ignored_rest(key: &str, rest: &str) -> Option<String> {
    let comment = rest.is_empty() || rest.starts_with('#');
    (!comment).then(|| format!("'{}' behind the value of '{key}' is ignored", shown(rest)))
}

fn one_of<T: 'static>(words: Words<T>, more: Option<&'static str>) -> String {
    let available = words
        .iter()
        .filter(|(_, choice)| matches!(choice, Choice::Set(_)))
        .map(|(name, _)| *name);
    let all: Vec<&str> = available.chain(more).collect();
    match all.as_slice() {
        [only] => (*only).to_owned(),
        _ => format!("one of {}", all.join(", ")),
    }
}
