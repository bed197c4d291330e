//! Packet Identifiers.

use std::fmt;
use std::num::NonZeroU16;

/// The number that ties a packet to its acknowledgement; never zero (v5[MQTT-2.2.1-3]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The lowest Packet Identifier.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The Packet Identifier of a number; `None` for zero.
    #[inline]
    pub const fn new(number: u16) -> Option<PacketId> {
        match NonZeroU16::new(number) {
            Some(number) => Some(PacketId(number)),
            None => None,
        }
    }

    /// The number, 1 to 65,535.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
