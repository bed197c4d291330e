//! A reader of bytes that checks every step; the only place that takes a peer's bytes apart.
//!
//! Each method either reads one field and moves on, or says why the bytes are malformed. Nothing
//! is copied: strings and binary data are views into the packet.

use crate::error::{DecodeError, Malformed, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet_id::PacketId;
use crate::publish_wire::varint_len;

/// What is left to read of a packet or of a property block.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Says that nothing may be left.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TrailingBytes)
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<2>()
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A variable byte integer, in its shortest form only.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, Malformed> {
        let (value, len) = parse_varint(self.rest)?.ok_or(Malformed::Truncated)?;
        check_minimal(value, len)?;
        self.take(len)?;
        Ok(value)
    }

    /// Binary data behind its two bytes of length.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 Encoded String. U+FEFF is text like any other (v5[MQTT-1.5.4-3]).
    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        let text = utf8(self.binary()?)?;
        // v5[MQTT-1.5.4-2] v311[MQTT-1.5.3-2]
        if text.as_bytes().contains(&0) && !is_active(Mutant::AcceptNullInString) {
            return Err(Malformed::NullCharacter);
        }
        Ok(text)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let number = self.u16()?;
        // v5[MQTT-2.2.1-3] v5[MQTT-2.2.1-4]
        Ok(PacketId::new(number).ok_or(Violation::PacketIdZero)?)
    }
}

/// Bytes as text; U+0000 is for the caller to look for.
// v5[MQTT-1.5.4-1] v311[MQTT-1.5.3-1]
#[inline]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) if is_active(Mutant::AcceptSurrogates) => Ok("?"),
        Err(_) => Err(Malformed::NotUtf8),
    }
}

/// The variable byte integer at the front and the number of its bytes; `None` when it goes on
/// past the end of these bytes.
#[inline]
pub(crate) fn parse_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Malformed> {
    match bytes.first() {
        Some(&byte) if byte < 0x80 => Ok(Some((u32::from(byte), 1))),
        _ => parse_long_varint(bytes),
    }
}

fn parse_long_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Malformed> {
    const LEN_MAX: usize = 4;
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < LEN_MAX {
        Ok(None)
    } else {
        Err(Malformed::VarintTooLong)
    }
}

/// Says that a variable byte integer may not have taken more bytes than it needs.
// v5[MQTT-1.5.5-1]
#[inline]
pub(crate) fn check_minimal(value: u32, len: usize) -> Result<(), Malformed> {
    if len == varint_len(value) || is_active(Mutant::AcceptNonMinimalVarint) {
        Ok(())
    } else {
        Err(Malformed::VarintNotMinimal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish_wire::put_varint;
    use crate::testing::hex;

    fn check_varint(bytes: &str, expected: Result<u32, Malformed>) {
        let bytes = hex(bytes);
        assert_eq!(Cursor::new(&bytes).varint(), expected, "{bytes:02x?}");
    }

    #[test]
    fn varints() {
        check_varint("00", Ok(0));
        check_varint("7f", Ok(127));
        check_varint("80 01", Ok(128));
        check_varint("ff 7f", Ok(16_383));
        check_varint("80 80 01", Ok(16_384));
        check_varint("ff ff 7f", Ok(2_097_151));
        check_varint("80 80 80 01", Ok(2_097_152));
        check_varint("ff ff ff 7f", Ok(268_435_455));
    }

    #[test]
    fn varints_that_are_none() {
        check_varint("", Err(Malformed::Truncated));
        check_varint("80", Err(Malformed::Truncated));
        check_varint("ff ff ff", Err(Malformed::Truncated));
        check_varint("ff ff ff ff", Err(Malformed::VarintTooLong));
        check_varint("80 80 80 80 01", Err(Malformed::VarintTooLong));
        check_varint("80 00", Err(Malformed::VarintNotMinimal));
        check_varint("ff 80 00", Err(Malformed::VarintNotMinimal));
        check_varint("81 80 80 00", Err(Malformed::VarintNotMinimal));
    }

    #[test]
    fn varints_are_written_as_they_are_read() {
        for shift in 0..28 {
            for value in [(1 << shift) - 1, 1 << shift] {
                let mut bytes = Vec::new();
                put_varint(value, &mut bytes);
                assert_eq!(bytes.len(), varint_len(value));
                assert_eq!(Cursor::new(&bytes).varint(), Ok(value));
            }
        }
    }

    fn check_string(bytes: &str, expected: Result<&str, Malformed>) {
        let bytes = hex(bytes);
        assert_eq!(Cursor::new(&bytes).string(), expected, "{bytes:02x?}");
    }

    #[test]
    fn strings() {
        check_string("0000", Ok(""));
        check_string("0003 612f62", Ok("a/b"));
        check_string("0003 612f62 63", Ok("a/b"));
        check_string("0003 efbbbf", Ok("\u{feff}"));
        check_string("0004 f09f9088", Ok("\u{1f408}"));
        check_string("0003 efbfbf", Ok("\u{ffff}"));
    }

    #[test]
    fn strings_that_are_none() {
        check_string("", Err(Malformed::Truncated));
        check_string("00", Err(Malformed::Truncated));
        check_string("0002 61", Err(Malformed::Truncated));
        check_string("0001 00", Err(Malformed::NullCharacter));
        check_string("0003 610062", Err(Malformed::NullCharacter));
        check_string("0003 eda080", Err(Malformed::NotUtf8));
        check_string("0002 c080", Err(Malformed::NotUtf8));
        check_string("0001 ff", Err(Malformed::NotUtf8));
        check_string("0002 c3 28", Err(Malformed::NotUtf8));
        check_string("0004 f4908080", Err(Malformed::NotUtf8));
    }
}
