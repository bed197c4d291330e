//! What a client asks for when it connects, and the CONNECT that says so.

use dunlin_packet::{
    Connect, Packet, PropertiesBuf, Property, ProtocolVersion, QoS, TopicName, Will, encode,
};

use super::error::UseError;

/// Everything that CONNECT carries, and the client's own limits. It serves any number of connections.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The version on the wire.
    pub version: ProtocolVersion,
    /// The Client Identifier; empty to have the Server choose one.
    pub client_id: String,
    /// Whether an existing Session is discarded (Clean Session in 3.x).
    pub clean_start: bool,
    /// Longest silence of the client, in seconds; 0 for no Keep Alive.
    pub keep_alive_s: u16,
    /// How long the Session outlives the connection, in seconds; `None` leaves it to the standard (5.0).
    pub session_expiry_interval_s: Option<u32>,
    /// QoS 1 and 2 messages that the Server may have open towards us, at least 1 (5.0).
    pub receive_maximum: u16,
    /// Largest packet that we accept, in bytes; 0 for no limit (5.0).
    pub maximum_packet_size: u32,
    /// Topic Aliases that the Server may use (5.0).
    pub topic_alias_maximum: u16,
    /// Further properties of CONNECT, such as User Properties (5.0).
    pub properties: PropertiesBuf,
    /// The Will, if there is one.
    pub will: Option<WillOptions>,
    /// The user's name.
    pub user_name: Option<String>,
    /// The password.
    pub password: Option<Vec<u8>>,
    /// QoS 1 and 2 messages that we have open towards the Server, at least 1, whatever it would allow.
    pub inflight_messages_max: u16,
    /// Longest wait for CONNACK, in seconds; 0 for no limit.
    pub connack_timeout_s: u16,
}

/// The message that the Server publishes when the connection ends without DISCONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct WillOptions {
    /// Its Topic Name.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties (5.0).
    pub properties: PropertiesBuf,
}

impl ConnectOptions {
    /// A clean start with Keep Alive 60 and the defaults of Mosquitto's tools.
    #[must_use]
    pub fn new(version: ProtocolVersion, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean_start: true,
            keep_alive_s: 60,
            session_expiry_interval_s: None,
            receive_maximum: 20,
            maximum_packet_size: 0,
            topic_alias_maximum: 0,
            properties: PropertiesBuf::new(),
            will: None,
            user_name: None,
            password: None,
            inflight_messages_max: 20,
            connack_timeout_s: 30,
        }
    }

    /// Appends the CONNECT packet.
    pub(super) fn put_connect(&self, out: &mut Vec<u8>) -> Result<(), UseError> {
        self.check()?;
        let properties = self.connect_properties();
        let will = match &self.will {
            Some(will) => Some(Will {
                topic: TopicName::new(&will.topic)?,
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_properties(),
            }),
            None => None,
        };
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: self.clean_start,
            keep_alive_s: self.keep_alive_s,
            client_id: &self.client_id,
            will,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
            properties: properties.as_properties(),
        };
        encode(&Packet::Connect(connect), self.version, u32::MAX, out)?;
        Ok(())
    }

    /// What 3.x forbids and 5.0 allows.
    fn check(&self) -> Result<(), UseError> {
        if self.version.is_v5() {
            return Ok(());
        }
        // v311[MQTT-3.1.2-22]
        if self.password.is_some() && self.user_name.is_none() {
            return Err(UseError::PasswordWithoutUserName);
        }
        // v311[MQTT-3.1.3-7]; 3.1 has no empty Client Identifier at all.
        let may_be_empty = self.version == ProtocolVersion::V311 && self.clean_start;
        if self.client_id.is_empty() && !may_be_empty {
            return Err(UseError::ClientIdRequired);
        }
        Ok(())
    }

    fn connect_properties(&self) -> PropertiesBuf {
        let mut properties = PropertiesBuf::new();
        if !self.version.is_v5() {
            return properties;
        }
        if let Some(seconds) = self.session_expiry_interval_s {
            properties.push(Property::SessionExpiryInterval(seconds));
        }
        if self.receive_maximum < u16::MAX {
            properties.push(Property::ReceiveMaximum(self.receive_maximum.max(1)));
        }
        if self.maximum_packet_size > 0 {
            properties.push(Property::MaximumPacketSize(self.maximum_packet_size));
        }
        if self.topic_alias_maximum > 0 {
            properties.push(Property::TopicAliasMaximum(self.topic_alias_maximum));
        }
        for property in self.properties.as_properties() {
            properties.push(property);
        }
        properties
    }

    /// The largest packet that the decoder lets through.
    pub(super) fn packet_size_max(&self) -> u32 {
        if self.version.is_v5() && self.maximum_packet_size > 0 {
            self.maximum_packet_size
        } else {
            u32::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_packet::{EncodeError, TopicError};

    use super::*;

    fn check(options: &ConnectOptions, expected: Result<&str, UseError>) {
        let mut out = Vec::new();
        let result = options.put_connect(&mut out);
        let shown: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            result.map(|()| shown),
            expected.map(|hex| hex.replace(' ', ""))
        );
    }

    #[test]
    fn the_bytes_are_those_of_mosquittos_tools() {
        let v311 = ConnectOptions::new(ProtocolVersion::V311, "");
        check(&v311, Ok("10 0c 0004 4d515454 04 02 003c 0000"));
        let v31 = ConnectOptions::new(ProtocolVersion::V31, "c");
        check(&v31, Ok("10 0f 0006 4d5149736470 03 02 003c 0001 63"));
        let v5 = ConnectOptions::new(ProtocolVersion::V5, "");
        check(&v5, Ok("10 10 0004 4d515454 05 02 003c 03 21 0014 0000"));
        let kept = ConnectOptions {
            clean_start: false,
            session_expiry_interval_s: Some(u32::MAX),
            ..v5
        };
        let kept = ConnectOptions {
            client_id: "x".into(),
            ..kept
        };
        check(
            &kept,
            Ok("10 16 0004 4d515454 05 00 003c 08 11 ffffffff 21 0014 0001 78"),
        );
    }

    #[test]
    fn a_will_and_a_password() {
        let will = WillOptions {
            topic: "w".into(),
            payload: b"p".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: PropertiesBuf::new(),
        };
        let options = ConnectOptions {
            will: Some(will),
            user_name: Some("u".into()),
            password: Some(b"P".to_vec()),
            keep_alive_s: 30,
            ..ConnectOptions::new(ProtocolVersion::V311, "idd")
        };
        check(
            &options,
            Ok("10 1b 0004 4d515454 04 ee 001e 0003 696464 0001 77 0001 70 0001 75 0001 50"),
        );
        let wild = options.will.clone().map(|will| WillOptions {
            topic: "w/#".into(),
            ..will
        });
        let error = UseError::Topic(TopicError::WildcardInName);
        check(
            &ConnectOptions {
                will: wild,
                ..options
            },
            Err(error),
        );
    }

    #[test]
    fn what_3x_cannot_say_is_refused() {
        let anonymous = ConnectOptions::new(ProtocolVersion::V311, "");
        let kept = ConnectOptions {
            clean_start: false,
            ..anonymous.clone()
        };
        check(&kept, Err(UseError::ClientIdRequired));
        check(
            &ConnectOptions::new(ProtocolVersion::V31, ""),
            Err(UseError::ClientIdRequired),
        );
        let nameless = ConnectOptions {
            password: Some(Vec::new()),
            ..anonymous
        };
        check(&nameless, Err(UseError::PasswordWithoutUserName));
        let long = ConnectOptions::new(ProtocolVersion::V311, &"x".repeat(65_536));
        check(
            &long,
            Err(UseError::Encode(EncodeError::FieldTooLong { len: 65_536 })),
        );
    }
}
