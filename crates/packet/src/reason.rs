//! Reason Codes: one table of number, text and the packets that each may stand in.
//!
//! Everything else about a Reason Code is derived from the table, but for the translation to the
//! six return codes of CONNACK in 3.x.

use std::fmt;

use crate::error::Violation;
use crate::packet::PacketType;

macro_rules! reason_codes {
    ($($code:literal $name:ident $text:literal in [$($packet:ident)+],)+) => {
        /// The outcome of an operation, as 5.0 numbers them; 0x80 and above are failures.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum ReasonCode {
            $(#[doc = $text] $name = $code,)+
        }

        impl ReasonCode {
            /// All Reason Codes, by number.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name),+];

            /// The Reason Code with this number, if the standard has one.
            #[inline]
            pub const fn from_u8(code: u8) -> Option<ReasonCode> {
                match code {
                    $($code => Some(ReasonCode::$name),)+
                    _ => None,
                }
            }

            /// What it says, in lower case, for logs and Reason Strings.
            pub const fn text(self) -> &'static str {
                match self {
                    $(ReasonCode::$name => $text,)+
                }
            }

            /// Whether 5.0 lets it stand in a packet of this kind.
            pub const fn allowed_in(self, packet_type: PacketType) -> bool {
                match self {
                    $(ReasonCode::$name => matches!(packet_type, $(PacketType::$packet)|+),)+
                }
            }
        }
    };
}

reason_codes! {
    0x00 Success "success"
        in [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth],
    0x01 GrantedQoS1 "granted qos 1" in [Suback],
    0x02 GrantedQoS2 "granted qos 2" in [Suback],
    0x04 DisconnectWithWill "disconnect with will message" in [Disconnect],
    0x10 NoMatchingSubscribers "no matching subscribers" in [Puback Pubrec],
    0x11 NoSubscriptionExisted "no subscription existed" in [Unsuback],
    0x18 ContinueAuthentication "continue authentication" in [Auth],
    0x19 ReAuthenticate "re-authenticate" in [Auth],
    0x80 UnspecifiedError "unspecified error"
        in [Connack Puback Pubrec Suback Unsuback Disconnect],
    0x81 MalformedPacket "malformed packet" in [Connack Disconnect],
    0x82 ProtocolError "protocol error" in [Connack Disconnect],
    0x83 ImplementationSpecificError "implementation specific error"
        in [Connack Puback Pubrec Suback Unsuback Disconnect],
    0x84 UnsupportedProtocolVersion "unsupported protocol version" in [Connack],
    0x85 ClientIdentifierNotValid "client identifier not valid" in [Connack],
    0x86 BadUserNameOrPassword "bad user name or password" in [Connack],
    0x87 NotAuthorized "not authorized" in [Connack Puback Pubrec Suback Unsuback Disconnect],
    0x88 ServerUnavailable "server unavailable" in [Connack],
    0x89 ServerBusy "server busy" in [Connack Disconnect],
    0x8A Banned "banned" in [Connack],
    0x8B ServerShuttingDown "server shutting down" in [Disconnect],
    0x8C BadAuthenticationMethod "bad authentication method" in [Connack Disconnect],
    0x8D KeepAliveTimeout "keep alive timeout" in [Disconnect],
    0x8E SessionTakenOver "session taken over" in [Disconnect],
    0x8F TopicFilterInvalid "topic filter invalid" in [Suback Unsuback Disconnect],
    0x90 TopicNameInvalid "topic name invalid" in [Connack Puback Pubrec Disconnect],
    0x91 PacketIdentifierInUse "packet identifier in use" in [Puback Pubrec Suback Unsuback],
    0x92 PacketIdentifierNotFound "packet identifier not found" in [Pubrel Pubcomp],
    0x93 ReceiveMaximumExceeded "receive maximum exceeded" in [Disconnect],
    0x94 TopicAliasInvalid "topic alias invalid" in [Disconnect],
    0x95 PacketTooLarge "packet too large" in [Connack Disconnect],
    0x96 MessageRateTooHigh "message rate too high" in [Disconnect],
    0x97 QuotaExceeded "quota exceeded" in [Connack Puback Pubrec Suback Disconnect],
    0x98 AdministrativeAction "administrative action" in [Disconnect],
    0x99 PayloadFormatInvalid "payload format invalid" in [Connack Puback Pubrec Disconnect],
    0x9A RetainNotSupported "retain not supported" in [Connack Disconnect],
    0x9B QoSNotSupported "qos not supported" in [Connack Disconnect],
    0x9C UseAnotherServer "use another server" in [Connack Disconnect],
    0x9D ServerMoved "server moved" in [Connack Disconnect],
    0x9E SharedSubscriptionsNotSupported "shared subscriptions not supported"
        in [Suback Disconnect],
    0x9F ConnectionRateExceeded "connection rate exceeded" in [Connack Disconnect],
    0xA0 MaximumConnectTime "maximum connect time" in [Disconnect],
    0xA1 SubscriptionIdentifiersNotSupported "subscription identifiers not supported"
        in [Suback Disconnect],
    0xA2 WildcardSubscriptionsNotSupported "wildcard subscriptions not supported"
        in [Suback Disconnect],
}

#[expect(
    non_upper_case_globals,
    reason = "the standard has three names for 0x00, and they read like the variant beside them"
)]
impl ReasonCode {
    /// 0x00 as DISCONNECT calls it.
    pub const NormalDisconnection: ReasonCode = ReasonCode::Success;
    /// 0x00 as SUBACK calls it.
    pub const GrantedQoS0: ReasonCode = ReasonCode::Success;
}

impl ReasonCode {
    /// The number that stands on the wire.
    #[inline]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it tells of a failure.
    #[inline]
    pub const fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// The return code of CONNACK in 3.x, 0 to 5, that comes nearest.
    pub const fn connack_v3(self) -> u8 {
        match self {
            ReasonCode::UnsupportedProtocolVersion => 1,
            ReasonCode::ClientIdentifierNotValid => 2,
            ReasonCode::BadUserNameOrPassword => 4,
            ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod => 5,
            other if other.is_error() => 3,
            _ => 0,
        }
    }

    /// The Reason Code for a return code of CONNACK in 3.x; `None` above 5.
    pub const fn from_connack_v3(code: u8) -> Option<ReasonCode> {
        match code {
            0 => Some(ReasonCode::Success),
            1 => Some(ReasonCode::UnsupportedProtocolVersion),
            2 => Some(ReasonCode::ClientIdentifierNotValid),
            3 => Some(ReasonCode::ServerUnavailable),
            4 => Some(ReasonCode::BadUserNameOrPassword),
            5 => Some(ReasonCode::NotAuthorized),
            _ => None,
        }
    }

    /// The Reason Code of a byte that stands in a packet of this kind.
    // v5[MQTT-3.2.2-8] v5[MQTT-3.4.2-1] v5[MQTT-3.5.2-1] v5[MQTT-3.6.2-1] v5[MQTT-3.7.2-1]
    // v5[MQTT-3.9.3-2] v5[MQTT-3.11.3-2] v5[MQTT-3.14.2-1] v5[MQTT-3.15.2-1]
    pub(crate) fn checked(code: u8, packet_type: PacketType) -> Result<ReasonCode, Violation> {
        match ReasonCode::from_u8(code) {
            Some(reason) if reason.allowed_in(packet_type) => Ok(reason),
            _ => Err(Violation::ReasonNotAllowed { packet_type, code }),
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_codes() {
        for reason in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_u8(reason.code()), Some(*reason));
            assert_eq!(reason.text(), reason.text().to_lowercase());
        }
        assert_eq!(ReasonCode::ALL.len(), 43);
        for unassigned in [0x03, 0x05, 0x12, 0x1A, 0x7F, 0xA3, 0xFF] {
            assert_eq!(ReasonCode::from_u8(unassigned), None);
        }
    }

    #[test]
    fn how_many_codes_each_packet_may_carry() {
        for (packet_type, count) in [
            (PacketType::Connect, 0),
            (PacketType::Connack, 22),
            (PacketType::Publish, 0),
            (PacketType::Puback, 9),
            (PacketType::Pubrec, 9),
            (PacketType::Pubrel, 2),
            (PacketType::Pubcomp, 2),
            (PacketType::Suback, 12),
            (PacketType::Unsuback, 7),
            // One more than table 3-10 lists: table 2-6 has 0x8C for DISCONNECT too.
            (PacketType::Disconnect, 30),
            (PacketType::Auth, 3),
        ] {
            let allowed = ReasonCode::ALL
                .iter()
                .filter(|reason| reason.allowed_in(packet_type));
            assert_eq!(allowed.count(), count, "{packet_type}");
        }
    }

    #[test]
    fn return_codes_of_3x_lead_back() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connack_v3(code).unwrap();
            assert_eq!(reason.connack_v3(), code);
        }
        assert_eq!(ReasonCode::from_connack_v3(6), None);
        assert_eq!(ReasonCode::Banned.connack_v3(), 5);
        assert_eq!(ReasonCode::QuotaExceeded.connack_v3(), 3);
        assert_eq!(ReasonCode::GrantedQoS1.connack_v3(), 0);
    }
}
