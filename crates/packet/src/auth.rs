//! AUTH: one step of an extended authentication, on 5.0 only.

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::{EncodeError, Keep};
use crate::error::DecodeError;
use crate::packet::PacketType;
use crate::properties::Properties;
use crate::reason::ReasonCode;
use crate::short_form;
use crate::version::ProtocolVersion;

/// What one side has to say to the Authentication Method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Go on, begin again, or done.
    pub reason: ReasonCode,
    /// Authentication Method and Authentication Data among them.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Auth<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let (reason, properties) = short_form::read(&mut cursor, PacketType::Auth, rules.sender)?;
        cursor.finish()?;
        Ok(Auth { reason, properties })
    }

    pub(crate) fn put_body(
        &self,
        version: ProtocolVersion,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if !version.is_v5() {
            return Err(EncodeError::AuthBeforeV5);
        }
        short_form::put(self.reason, self.properties, keep, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::{Client, Server};
    use crate::encode::encode;
    use crate::error::{Malformed, Violation};
    use crate::packet::Packet;
    use crate::properties::PropertiesBuf;
    use crate::property::Property;
    use crate::testing::{NO_MAXIMUM, V5, V31, V311, check, check_error};

    #[test]
    fn forms() {
        let done = Auth {
            reason: ReasonCode::Success,
            properties: Properties::EMPTY,
        };
        check(V5, Server, "f0 00", &Packet::Auth(done));
        let again = Auth {
            reason: ReasonCode::ReAuthenticate,
            ..done
        };
        check(V5, Client, "f0 01 19", &Packet::Auth(again));
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthenticationMethod("abc"));
        properties.push(Property::AuthenticationData(&[1, 2]));
        let step = Auth {
            reason: ReasonCode::ContinueAuthentication,
            properties: properties.as_properties(),
        };
        let bytes = "f0 0d 18 0b 15 0003 616263 16 0002 0102";
        check(V5, Client, bytes, &Packet::Auth(step));
        assert!(!format!("{step:?}").contains("[1, 2]"));

        let mut out = Vec::new();
        let result = encode(&Packet::Auth(done), V311, NO_MAXIMUM, &mut out);
        assert_eq!(result, Err(EncodeError::AuthBeforeV5));
        assert!(out.is_empty());
    }

    #[test]
    fn errors() {
        let malformed = ReasonCode::MalformedPacket;
        for version in [V31, V311] {
            check_error(version, Client, "f0 00", Malformed::AuthBeforeV5, malformed);
        }
        let flags = Malformed::FixedHeaderFlags {
            packet_type: PacketType::Auth,
            flags: 2,
        };
        check_error(V5, Client, "f2 00", flags, malformed);
        check_error(
            V5,
            Client,
            "f0 03 18 00 00",
            Malformed::TrailingBytes,
            malformed,
        );
        let code = Violation::ReasonNotAllowed {
            packet_type: PacketType::Auth,
            code: 0x87,
        };
        check_error(V5, Client, "f0 01 87", code, ReasonCode::ProtocolError);
    }
}
