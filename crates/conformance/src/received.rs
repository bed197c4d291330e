//! What the broker sent, taken apart: properties with owned values, and a delivered PUBLISH.
//!
//! Reading is strict: bytes that MQTT does not allow here are a panic, since the broker wrote them.

use crate::wire::{Wire, to_hex};

/// One property that was received: its identifier and its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OwnedProp {
    /// One byte.
    Byte(u8, u8),
    /// Two Byte Integer.
    U16(u8, u16),
    /// Four Byte Integer.
    U32(u8, u32),
    /// Variable Byte Integer.
    Varint(u8, u32),
    /// UTF-8 Encoded String.
    Str(u8, String),
    /// Binary Data.
    Bin(u8, Vec<u8>),
    /// UTF-8 String Pair.
    Pair(u8, String, String),
}

impl OwnedProp {
    /// The property's identifier.
    pub fn id(&self) -> u8 {
        match self {
            OwnedProp::Byte(id, _)
            | OwnedProp::U16(id, _)
            | OwnedProp::U32(id, _)
            | OwnedProp::Varint(id, _)
            | OwnedProp::Str(id, _)
            | OwnedProp::Bin(id, _)
            | OwnedProp::Pair(id, _, _) => *id,
        }
    }

    /// The value of a property that is a number.
    #[track_caller]
    pub fn number(&self) -> u32 {
        match self {
            OwnedProp::Byte(_, value) => u32::from(*value),
            OwnedProp::U16(_, value) => u32::from(*value),
            OwnedProp::U32(_, value) | OwnedProp::Varint(_, value) => *value,
            _ => panic!("{self:?} is no number"),
        }
    }

    /// The value of a property that is one text.
    #[track_caller]
    pub fn text(&self) -> &str {
        match self {
            OwnedProp::Str(_, text) => text,
            _ => panic!("{self:?} is no text"),
        }
    }
}

/// A PUBLISH that was received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// Topic Name; empty where a Topic Alias stands for it.
    pub topic: String,
    /// Application Message.
    pub payload: Vec<u8>,
    /// QoS 0 to 2.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// DUP flag.
    pub dup: bool,
    /// Packet Identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// Properties in their order; none on 3.x.
    pub props: Vec<OwnedProp>,
}

impl Delivered {
    /// Takes a PUBLISH apart that came on a connection of this protocol level.
    #[track_caller]
    pub fn from_wire(wire: &Wire, level: u8) -> Delivered {
        assert_eq!(wire.packet_type(), 3, "awaited a PUBLISH, got {wire:?}");
        let flags = wire.flags();
        let qos = (flags >> 1) & 0x03;
        assert_ne!(qos, 3, "QoS 3 in {wire:?}");
        let dup = flags & 0x08 != 0;
        assert!(qos > 0 || !dup, "DUP at QoS 0 in {wire:?}");
        let mut reader = Reader {
            bytes: &wire.body,
            at: 0,
        };
        let topic = reader.string();
        let packet_id = if qos > 0 { reader.u16() } else { 0 };
        assert!(qos == 0 || packet_id > 0, "Packet Identifier 0 in {wire:?}");
        let props = if level == 5 {
            reader.properties()
        } else {
            Vec::new()
        };
        let payload = reader.rest().to_vec();
        Delivered {
            topic,
            payload,
            qos,
            retain: flags & 0x01 != 0,
            dup,
            packet_id,
            props,
        }
    }

    /// The first property with this identifier.
    pub fn prop(&self, id: u8) -> Option<&OwnedProp> {
        self.props.iter().find(|prop| prop.id() == id)
    }

    /// All properties with this identifier, in their order.
    pub fn props(&self, id: u8) -> Vec<&OwnedProp> {
        self.props.iter().filter(|prop| prop.id() == id).collect()
    }
}

/// The properties of the block that begins with its Property Length at `start`.
#[track_caller]
pub(crate) fn properties(body: &[u8], start: usize) -> Vec<OwnedProp> {
    Reader {
        bytes: body,
        at: start,
    }
    .properties()
}

/// The length of that block, its Property Length included.
#[track_caller]
pub(crate) fn block_len(body: &[u8], start: usize) -> usize {
    let mut reader = Reader {
        bytes: body,
        at: start,
    };
    let length = reader.varint() as usize;
    reader.at - start + length
}

/// Where the properties of a PUBLISH begin.
#[track_caller]
pub(crate) fn publish_properties_at(wire: &Wire) -> usize {
    let mut reader = Reader {
        bytes: &wire.body,
        at: 0,
    };
    reader.string();
    if wire.flags() & 0x06 != 0 {
        reader.u16();
    }
    reader.at
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[track_caller]
    fn take(&mut self, count: usize) -> &'a [u8] {
        let Some(taken) = self.bytes.get(self.at..self.at + count) else {
            panic!(
                "{count} bytes wanted at {} of [{}]",
                self.at,
                to_hex(self.bytes)
            );
        };
        self.at += count;
        taken
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[track_caller]
    fn byte(&mut self) -> u8 {
        self.take(1).iter().fold(0, |_, byte| *byte)
    }

    #[track_caller]
    fn u16(&mut self) -> u16 {
        self.take(2)
            .iter()
            .fold(0, |value, byte| (value << 8) | u16::from(*byte))
    }

    #[track_caller]
    fn u32(&mut self) -> u32 {
        self.take(4)
            .iter()
            .fold(0, |value, byte| (value << 8) | u32::from(*byte))
    }

    #[track_caller]
    fn varint(&mut self) -> u32 {
        let mut value = 0;
        for position in 0..4 {
            let byte = self.byte();
            value |= u32::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                assert!(
                    byte != 0 || position == 0,
                    "a Variable Byte Integer is longer than needed"
                );
                return value;
            }
        }
        panic!(
            "a Variable Byte Integer has more than four bytes: [{}]",
            to_hex(self.bytes)
        );
    }

    #[track_caller]
    fn binary(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.take(usize::from(length))
    }

    #[track_caller]
    fn string(&mut self) -> String {
        let bytes = self.binary();
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text.to_owned(),
            _ => panic!("not a UTF-8 Encoded String: [{}]", to_hex(bytes)),
        }
    }

    #[track_caller]
    fn properties(&mut self) -> Vec<OwnedProp> {
        let length = self.varint() as usize;
        let mut block = Reader {
            bytes: self.take(length),
            at: 0,
        };
        let mut properties = Vec::new();
        while !block.rest().is_empty() {
            properties.push(block.property());
        }
        properties
    }

    #[track_caller]
    fn property(&mut self) -> OwnedProp {
        let id = self.byte();
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => {
                OwnedProp::Byte(id, self.byte())
            }
            0x13 | 0x21 | 0x22 | 0x23 => OwnedProp::U16(id, self.u16()),
            0x02 | 0x11 | 0x18 | 0x27 => OwnedProp::U32(id, self.u32()),
            0x0B => OwnedProp::Varint(id, self.varint()),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => OwnedProp::Str(id, self.string()),
            0x09 | 0x16 => OwnedProp::Bin(id, self.binary().to_vec()),
            0x26 => {
                let key = self.string();
                OwnedProp::Pair(id, key, self.string())
            }
            _ => panic!("unknown property 0x{id:02x} in [{}]", to_hex(self.bytes)),
        }
    }
}
