//! Topic Names, Topic Filters and the filters of Shared Subscriptions, as checked views of text.
//!
//! A value of these types is valid; inside the broker nobody checks again. No text is normalized
//! (v5[MQTT-4.7.3-4]).

use std::error::Error;
use std::fmt;
use std::str::Split;

use crate::cursor::{Cursor, utf8};
use crate::error::{DecodeError, Malformed, Violation};
use crate::mutant::{Mutant, is_active};

/// The most bytes a topic may have (v5[MQTT-4.7.3-3]).
const TOPIC_BYTES_MAX: usize = 65_535;

const SHARE_PREFIX: &str = "$share/";

/// The label of an Application Message: 1 to 65,535 bytes, no wildcards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a text.
    ///
    /// # Errors
    ///
    /// Says what keeps it from being a Topic Name.
    // v5[MQTT-4.7.0-1] v5[MQTT-4.7.3-1] v5[MQTT-4.7.3-2] v5[MQTT-4.7.3-3]
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_len(text)?;
        if !has_special(text.as_bytes()) {
            return Ok(TopicName(text));
        }
        Err(if text.contains('\0') {
            TopicError::NullCharacter
        } else {
            TopicError::WildcardInName
        })
    }

    /// The text.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// What stands between the separators; empty levels are levels.
    pub fn levels(self) -> Split<'a, char> {
        self.0.split('/')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a Subscription asks for: 1 to 65,535 bytes, wildcards in their places.
///
/// `$share/...` is a plain filter to this type: ask [`SharedFilter::parse`] first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks a text.
    ///
    /// # Errors
    ///
    /// Says what keeps it from being a Topic Filter.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_len(text)?;
        if has_special(text.as_bytes()) {
            if text.contains('\0') {
                return Err(TopicError::NullCharacter);
            }
            check_wildcards(text)?;
        }
        Ok(TopicFilter(text))
    }

    /// The text.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// What stands between the separators; empty levels are levels.
    pub fn levels(self) -> Split<'a, char> {
        self.0.split('/')
    }

    /// Whether it can match more than the one Topic Name that it spells.
    pub fn has_wildcards(self) -> bool {
        has_special(self.0.as_bytes())
    }

    /// Whether a message of this Topic Name is asked for.
    pub fn matches(self, name: TopicName<'_>) -> bool {
        // v5[MQTT-4.7.2-1]
        if name.as_str().starts_with('$')
            && self.0.starts_with(['+', '#'])
            && !is_active(Mutant::DollarMatchesWildcard)
        {
            return false;
        }
        let mut wanted = self.levels();
        let mut given = name.levels();
        loop {
            match (wanted.next(), given.next()) {
                // The parent level is included: `a/#` matches `a`.
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The two parts of `$share/NAME/FILTER`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SharedFilter<'a> {
    /// The ShareName: at least one character, none of `/`, `+` and `#`.
    pub share_name: &'a str,
    /// What the Shared Subscription asks for.
    pub filter: TopicFilter<'a>,
}

impl<'a> SharedFilter<'a> {
    /// Takes the filter of a Shared Subscription apart; `None` when the text does not begin with
    /// `$share/` and so asks for a Subscription of its own.
    ///
    /// # Errors
    ///
    /// When the ShareName is empty or contains wildcards, when no filter follows it, or when the
    /// filter is not valid.
    // v5[MQTT-4.8.2-1] v5[MQTT-4.8.2-2]
    pub fn parse(text: &'a str) -> Result<Option<Self>, TopicError> {
        let Some(rest) = text.strip_prefix(SHARE_PREFIX) else {
            return Ok(None);
        };
        check_len(text)?;
        let (share_name, filter) = rest.split_once('/').ok_or(TopicError::ShareName)?;
        if share_name.contains('\0') {
            return Err(TopicError::NullCharacter);
        }
        if share_name.is_empty() || share_name.contains(['+', '#']) || filter.is_empty() {
            return Err(TopicError::ShareName);
        }
        let filter = TopicFilter::new(filter)?;
        Ok(Some(SharedFilter { share_name, filter }))
    }

    /// Whether the text asks for a Shared Subscription, well-formed or not.
    pub(crate) fn is_shared(text: &str) -> bool {
        text.starts_with(SHARE_PREFIX)
    }
}

/// Why a text is no Topic Name or Topic Filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// It has no character.
    Empty,
    /// It has more than 65,535 bytes.
    TooLong,
    /// It contains U+0000.
    NullCharacter,
    /// It is to be a Topic Name and contains `+` or `#`.
    WildcardInName,
    /// A wildcard does not stand alone in its level, or `#` is not the last.
    MisplacedWildcard,
    /// The ShareName is empty or contains wildcards, or no filter follows it.
    ShareName,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicError::Empty => "the topic is empty",
            TopicError::TooLong => "the topic is longer than 65535 bytes",
            TopicError::NullCharacter => "the topic contains U+0000",
            TopicError::WildcardInName => "a Topic Name may not contain + or #",
            TopicError::MisplacedWildcard => {
                "a wildcard must stand alone in its level, and # must be the last"
            }
            TopicError::ShareName => {
                "a Shared Subscription is $share/NAME/FILTER, its name without + and #"
            }
        })
    }
}

impl Error for TopicError {}

/// The Topic Name of a PUBLISH: checked, but for being empty, which a Topic Alias may explain.
// v5[MQTT-3.3.2-1] v5[MQTT-3.3.2-2]
#[inline]
pub(crate) fn read_name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let bytes = cursor.binary()?;
    let text = utf8(bytes)?;
    if has_special(bytes) {
        check_special_in_name(bytes)?;
    }
    Ok(text)
}

#[cold]
fn check_special_in_name(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.contains(&0) && !is_active(Mutant::AcceptNullInString) {
        return Err(Malformed::NullCharacter.into());
    }
    let wildcard = bytes.contains(&b'+') || bytes.contains(&b'#');
    if wildcard && !is_active(Mutant::AcceptWildcardTopicName) {
        return Err(Violation::WildcardInTopicName.into());
    }
    Ok(())
}

fn check_len(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=TOPIC_BYTES_MAX => Ok(()),
        _ => Err(TopicError::TooLong),
    }
}

// v5[MQTT-4.7.1-1] v5[MQTT-4.7.1-2]
fn check_wildcards(text: &str) -> Result<(), TopicError> {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1;
        let last = levels.peek().is_none();
        if (level.contains('+') && !alone) || (level.contains('#') && !(alone && last)) {
            return Err(TopicError::MisplacedWildcard);
        }
    }
    Ok(())
}

/// Whether U+0000, `+` or `#` is among the bytes. Looks at eight at a time, for every PUBLISH
/// passes here.
#[inline]
fn has_special(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().any(|&byte| matches!(byte, 0 | b'+' | b'#'));
    };
    // The last eight bytes may overlap the word before them, which does no harm.
    let mut found = special_in_word(u64::from_ne_bytes(*last));
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        found |= special_in_word(u64::from_ne_bytes(*word));
    }
    found != 0
}

/// Not zero when one of the eight bytes is U+0000, `+` or `#`.
#[inline]
const fn special_in_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // Bit 3 is all that tells `#` (0x23) from `+` (0x2b): with it set, both become zero here.
    let wildcard = (word | 0x0808_0808_0808_0808) ^ 0x2B2B_2B2B_2B2B_2B2B;
    let nul_found = word.wrapping_sub(ONES) & !word;
    let wildcard_found = wildcard.wrapping_sub(ONES) & !wildcard;
    (nul_found | wildcard_found) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_name(text: &str, expected: Result<(), TopicError>) {
        assert_eq!(TopicName::new(text).map(|_| ()), expected, "{text:?}");
    }

    fn check_filter(text: &str, expected: Result<(), TopicError>) {
        assert_eq!(TopicFilter::new(text).map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn names() {
        for valid in [
            "a",
            "/",
            "//",
            "a/b",
            "/a",
            " ",
            "$SYS/broker",
            "ä/ö",
            "\u{feff}",
            "$",
        ] {
            check_name(valid, Ok(()));
        }
        check_name("", Err(TopicError::Empty));
        check_name("a\0", Err(TopicError::NullCharacter));
        check_name("long/enough/for/words\0/+", Err(TopicError::NullCharacter));
        for wildcard in ["+", "#", "a/+", "a+", "sensors/#/temperature", "12345678#"] {
            check_name(wildcard, Err(TopicError::WildcardInName));
        }
        check_name(&"a".repeat(65_535), Ok(()));
        check_name(&"a".repeat(65_536), Err(TopicError::TooLong));
    }

    #[test]
    fn filters() {
        for valid in [
            "a", "#", "+", "/", "+/+", "a/#", "a/+/b", "+/#", "/#", "$share", "a//b",
        ] {
            check_filter(valid, Ok(()));
        }
        check_filter("", Err(TopicError::Empty));
        check_filter("a/\0", Err(TopicError::NullCharacter));
        for misplaced in [
            "a#", "#a", "a/#/b", "a+", "+a/b", "a/+b", "++", "##", "#/", "a/b+/c",
        ] {
            check_filter(misplaced, Err(TopicError::MisplacedWildcard));
        }
        check_filter(&"a".repeat(65_536), Err(TopicError::TooLong));
        assert!(TopicFilter::new("a/+").unwrap().has_wildcards());
        assert!(!TopicFilter::new("a/b").unwrap().has_wildcards());
    }

    fn check_match(filter: &str, name: &str, expected: bool) {
        let filter = TopicFilter::new(filter).unwrap();
        let name = TopicName::new(name).unwrap();
        assert_eq!(filter.matches(name), expected, "{filter} {name}");
    }

    #[test]
    fn matching() {
        for (filter, name) in [
            ("a", "a"),
            ("#", "a"),
            ("#", "/"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("a/+", "a/b"),
            ("a/+", "a/"),
            ("+/+", "/a"),
            ("/+", "/a"),
            ("+/b/#", "a/b"),
            ("a/+/c", "a//c"),
            ("$SYS/#", "$SYS/x"),
            ("$SYS/+", "$SYS/x"),
            ("a/+", "a/$b"),
        ] {
            check_match(filter, name, true);
        }
        for (filter, name) in [
            ("a", "A"),
            ("a", "a/"),
            ("a/", "a"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("+", "/a"),
            ("a/b/#", "a"),
            ("#", "$SYS"),
            ("+", "$SYS"),
            ("+/x", "$SYS/x"),
            ("/#", "a"),
        ] {
            check_match(filter, name, false);
        }
    }

    #[test]
    fn shared_filters() {
        for plain in [
            "a/b",
            "$share",
            "$shared/g/a",
            "$SHARE/g/a",
            "/$share/g/a",
            "",
        ] {
            assert_eq!(SharedFilter::parse(plain), Ok(None), "{plain}");
        }
        for (text, share_name, filter) in [
            ("$share/g/a", "g", "a"),
            ("$share/g//", "g", "/"),
            ("$share/ö/+/#", "ö", "+/#"),
        ] {
            let shared = SharedFilter::parse(text).unwrap().unwrap();
            assert_eq!(
                (shared.share_name, shared.filter.as_str()),
                (share_name, filter)
            );
        }
        for (text, error) in [
            ("$share/", TopicError::ShareName),
            ("$share/g", TopicError::ShareName),
            ("$share/g/", TopicError::ShareName),
            ("$share//a", TopicError::ShareName),
            ("$share/+/a", TopicError::ShareName),
            ("$share/g#/a", TopicError::ShareName),
            ("$share/g\0/a", TopicError::NullCharacter),
            ("$share/g/a#", TopicError::MisplacedWildcard),
        ] {
            assert_eq!(SharedFilter::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for len in 0..40 {
            let plain = vec![b'*'; len];
            assert!(!has_special(&plain));
            for position in 0..len {
                for special in [0, b'+', b'#'] {
                    let mut bytes = plain.clone();
                    bytes[position] = special;
                    assert!(has_special(&bytes), "{special} at {position} of {len}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn special_bytes_as_a_plain_search_finds_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let expected = bytes.iter().any(|byte| [0, b'+', b'#'].contains(byte));
            prop_assert_eq!(has_special(&bytes), expected);
        }
    }
}
