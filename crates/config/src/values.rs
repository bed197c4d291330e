//! The values of options as Mosquitto writes them: booleans, numbers, sizes, durations. Pure text to
//! value; which values a key takes is for the table to say.

use std::fmt;

/// Which numbers a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    min: i64,
    max: i64,
    /// What 0 stands for, where 0 lies outside of `min..=max`.
    zero: Option<&'static str>,
    /// Whether negative numbers mean the same as 0.
    negative: bool,
}

pub(crate) const fn range(min: i64, max: i64) -> Range {
    Range {
        min,
        max,
        zero: None,
        negative: false,
    }
}

impl Range {
    /// 0 is accepted too and stands for `meaning`.
    pub(crate) const fn or_zero(mut self, meaning: &'static str) -> Range {
        self.zero = Some(meaning);
        self
    }

    /// Negative numbers count as 0, as in Mosquitto.
    pub(crate) const fn or_negative(mut self) -> Range {
        self.negative = true;
        self
    }

    /// The number as the setter gets it, or `None` when it is outside.
    pub(crate) fn check(&self, value: i64) -> Option<i64> {
        let value = if self.negative && value < 0 { 0 } else { value };
        let accepted =
            (self.min..=self.max).contains(&value) || (value == 0 && self.zero.is_some());
        accepted.then_some(value)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.min, self.max)?;
        match (self.zero, self.negative) {
            (Some(meaning), true) => write!(f, ", or 0 or -1 for {meaning}"),
            (Some(meaning), false) => write!(f, ", or 0 for {meaning}"),
            (None, _) => Ok(()),
        }
    }
}

/// `true`, `false`, `1` or `0`; nothing else, in no other case.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A number as C's strtol reads it in base 0: `0x` begins a hexadecimal, another leading 0 an octal
/// one. The whole text must be the number; what is too large for 64 bits becomes the largest.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let size = i64::from_str_radix(digits, radix).unwrap_or(i64::MAX);
    Some(if negative { -size } else { size })
}

/// A number of bytes: a number, or a number with K, M or G behind it (powers of 1024).
pub(crate) fn parse_size(text: &str) -> Option<i64> {
    let (digits, unit) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1_i64 << 10),
        (at, 'm' | 'M') => (text.get(..at)?, 1_i64 << 20),
        (at, 'g' | 'G') => (text.get(..at)?, 1_i64 << 30),
        _ => (text, 1),
    };
    Some(parse_int(digits)?.saturating_mul(unit))
}

/// A duration in seconds: a whole number and its unit s, h, d, w, m (30 days) or y (365 days).
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let (at, unit) = text.char_indices().next_back()?;
    let seconds: u64 = match unit {
        's' => 1,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        'm' => 30 * 86_400,
        'y' => 365 * 86_400,
        _ => return None,
    };
    let digits = text.get(..at)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u32 = digits.parse().ok()?;
    (count > 0).then(|| u64::from(count) * seconds)
}

/// The first word of `text` and what follows it, both without blanks around them.
pub(crate) fn split_word(text: &str) -> (&str, &str) {
    let text = trim(text);
    match text.find(is_blank) {
        Some(at) => {
            let (word, rest) = text.split_at(at);
            (word, trim(rest))
        }
        None => (text, ""),
    }
}

/// `text` without blanks around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Mosquitto separates by spaces only; we take the TAB as well.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// A piece of the file as it may stand in a message: at most 200 characters, none that a terminal obeys.
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut shown: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

pub(crate) fn to_u16(value: i64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

pub(crate) fn to_u32(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Negative numbers have been refused or turned into 0 by the key's [`Range`].
pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtol_does() {
        let cases = [
            ("0", Some(0)),
            ("20", Some(20)),
            ("+20", Some(20)),
            ("-1", Some(-1)),
            ("0x10", Some(16)),
            ("-0X1f", Some(-31)),
            ("010", Some(8)),
            ("08", None),
            ("", None),
            ("-", None),
            ("+-5", None),
            ("0x", None),
            ("12a", None),
            ("99999999999999999999", Some(i64::MAX)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_int(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_take_a_unit() {
        let cases = [
            ("64K", Some(65_536)),
            ("1m", Some(1_048_576)),
            ("2G", Some(2_147_483_648)),
            ("7", Some(7)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), expected, "{text:?}");
        }
        for text in ["", "K", "1T", "1 K", "ü"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        let cases = [
            ("7d", Some(604_800)),
            ("1h", Some(3_600)),
            ("2m", Some(5_184_000)),
            ("1y", Some(31_536_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
        for text in [
            "",
            "d",
            "7",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "7x",
            "99999999999y",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[2J"), "a\u{fffd}[2J");
        assert_eq!(shown(&"x".repeat(201)), format!("{}…", "x".repeat(200)));
    }
}
