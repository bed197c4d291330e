//! What a case wants to send, as plain data: CONNECT, Will, PUBLISH and their properties.

use crate::wire;

/// One property to send: its identifier and its value, of any type, right or wrong.
#[derive(Copy, Clone, Debug)]
pub enum Prop<'a> {
    /// One byte.
    Byte(u8, u8),
    /// Two Byte Integer.
    U16(u8, u16),
    /// Four Byte Integer.
    U32(u8, u32),
    /// Variable Byte Integer.
    Varint(u8, u32),
    /// UTF-8 Encoded String.
    Str(u8, &'a str),
    /// Binary Data.
    Bin(u8, &'a [u8]),
    /// UTF-8 String Pair.
    Pair(u8, &'a str, &'a str),
}

/// A CONNECT packet.
#[derive(Clone, Debug)]
pub struct ConnectSpec<'a> {
    /// Protocol level: 3, 4 or 5 (also with the bridge bit 0x80).
    pub level: u8,
    /// Client Identifier; may be empty.
    pub client_id: &'a str,
    /// Clean Start (5.0), Clean Session (3.x).
    pub clean: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive: u16,
    /// CONNECT's own properties (5.0).
    pub props: Vec<Prop<'a>>,
    /// The Will, if there is one.
    pub will: Option<WillSpec<'a>>,
    /// User Name, if there is one.
    pub user: Option<&'a str>,
    /// Password, if there is one.
    pub password: Option<&'a [u8]>,
}

impl<'a> ConnectSpec<'a> {
    /// MQTT 5.0 with Clean Start and no Keep Alive.
    pub fn v5(client_id: &'a str) -> ConnectSpec<'a> {
        ConnectSpec::at(5, client_id)
    }

    /// MQTT 3.1.1 with Clean Session and no Keep Alive.
    pub fn v311(client_id: &'a str) -> ConnectSpec<'a> {
        ConnectSpec::at(4, client_id)
    }

    /// MQTT 3.1 with Clean Session and no Keep Alive.
    pub fn v31(client_id: &'a str) -> ConnectSpec<'a> {
        ConnectSpec::at(3, client_id)
    }

    fn at(level: u8, client_id: &'a str) -> ConnectSpec<'a> {
        ConnectSpec {
            level,
            client_id,
            clean: true,
            keep_alive: 0,
            props: Vec::new(),
            will: None,
            user: None,
            password: None,
        }
    }

    /// The whole packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::connect(self)
    }
}

/// A Will.
#[derive(Clone, Debug)]
pub struct WillSpec<'a> {
    /// Will Topic.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties (5.0).
    pub props: Vec<Prop<'a>>,
}

impl<'a> WillSpec<'a> {
    /// A Will at QoS 0, not retained, without properties.
    pub fn new(topic: &'a str, payload: &'a [u8]) -> WillSpec<'a> {
        WillSpec {
            topic,
            payload,
            qos: 0,
            retain: false,
            props: Vec::new(),
        }
    }
}

/// A PUBLISH packet.
#[derive(Clone, Debug)]
pub struct PublishSpec<'a> {
    /// Topic Name; may be empty beside a Topic Alias.
    pub topic: &'a str,
    /// Application Message.
    pub payload: &'a [u8],
    /// QoS bits, 0 to 2 (3 is malformed, and can be sent).
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// DUP flag.
    pub dup: bool,
    /// Packet Identifier, written at QoS above 0 only.
    pub packet_id: u16,
    /// Properties (5.0).
    pub props: Vec<Prop<'a>>,
}

impl<'a> PublishSpec<'a> {
    /// A PUBLISH with Packet Identifier 1, no flags and no properties.
    pub fn new(topic: &'a str, payload: &'a [u8], qos: u8) -> PublishSpec<'a> {
        PublishSpec {
            topic,
            payload,
            qos,
            retain: false,
            dup: false,
            packet_id: 1,
            props: Vec::new(),
        }
    }

    /// The whole packet as a connection of this protocol level sends it.
    pub fn to_bytes(&self, level: u8) -> Vec<u8> {
        wire::publish(level, self)
    }
}
