//! CONNECT and CONNACK, seen from the Server: what the two ends agree on.
//!
//! This is the one place where the versions of MQTT differ beyond the bytes of their packets: 3.x
//! has no properties, so its Session lives for ever or ends with its connection, and what it cannot
//! be told it is not asked to keep.

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{Connect, PropertiesBuf, Property, ProtocolVersion, QoS, ReasonCode};

/// A Session Expiry Interval that never ends.
pub const NEVER_EXPIRES: u32 = u32::MAX;

/// What this Server offers on a listener. Each value has its configuration key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOffer {
    /// QoS 1 and 2 PUBLISH packets that a client may have open (`receive_maximum`).
    pub receive_maximum: u16,
    /// Largest packet that we accept, bytes (`max_packet_size`); 0 for the protocol's own limit, unannounced.
    pub maximum_packet_size: u32,
    /// Topic Aliases that a client may use (`max_topic_alias`).
    pub topic_alias_maximum: u16,
    /// Topic Aliases that we use towards a client, at most (`max_topic_alias_broker`).
    pub topic_alias_maximum_broker: u16,
    /// Longest Keep Alive in seconds (`max_keepalive`); 0 for no limit.
    pub keep_alive_max_s: u16,
    /// Highest QoS that a client may publish at (`max_qos`).
    pub maximum_qos: QoS,
    /// Whether retained messages exist (`retain_available`).
    pub retain_available: bool,
    /// Whether an empty Client Identifier gets one assigned (`allow_zero_length_clientid`).
    pub zero_length_client_id: bool,
    /// Longest life of a Session without connection, seconds (`persistent_client_expiration`).
    pub session_expiry_max_s: Option<u32>,
    /// Messages in flight towards one client, at most (`max_inflight_messages`).
    pub inflight_messages_max: u16,
}

impl Default for ServerOffer {
    fn default() -> Self {
        Self {
            receive_maximum: 20,
            maximum_packet_size: 2_000_000,
            topic_alias_maximum: 10,
            topic_alias_maximum_broker: 10,
            keep_alive_max_s: 0,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            zero_length_client_id: true,
            session_expiry_max_s: None,
            inflight_messages_max: 20,
        }
    }
}

/// What a Network Connection runs under, once CONNECT is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The version on the wire.
    pub version: ProtocolVersion,
    /// The peer is a bridge (protocol level with the top bit set).
    pub bridge: bool,
    /// Discard an existing Session.
    pub clean_start: bool,
    /// Life of the Session after its connection, seconds; [`NEVER_EXPIRES`] for ever.
    pub session_expiry_interval_s: u32,
    /// The Session Expiry Interval that CONNACK has to carry, where it is not what was asked for.
    pub shortened_session_expiry_s: Option<u32>,
    /// Keep Alive in force, seconds; 0 for none.
    pub keep_alive_s: u16,
    /// The Server Keep Alive that CONNACK has to carry.
    pub server_keep_alive_s: Option<u16>,
    /// Open QoS 1 and 2 PUBLISH packets towards the client.
    pub send_quota: u16,
    /// Open QoS 1 and 2 PUBLISH packets of the client. 3.x is told of no maximum, so only its
    /// Packet Identifiers bound it.
    pub receive_maximum: u16,
    /// Largest packet that the client accepts, bytes.
    pub packet_size_max: u32,
    /// Topic Aliases that we use towards the client.
    pub topic_alias_maximum: u16,
    /// Whether acknowledgements may carry Reason String and User Properties.
    pub request_problem_information: bool,
}

/// Why CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For CONNACK.
    pub reason: ReasonCode,
    /// For the log.
    pub why: &'static str,
}

/// Settles the terms of a connection from its CONNECT and our offer.
///
/// # Errors
/// The Reason Code for CONNACK, on 3.x to be mapped by [`ReasonCode::connack_v3`].
pub fn negotiate(connect: &Connect<'_>, offer: &ServerOffer) -> Result<Terms, Refusal> {
    let refuse = |reason, why| Err(Refusal { reason, why });
    let properties = connect.properties;
    if let Some(will) = &connect.will {
        // v5[MQTT-3.2.2-12], v5[MQTT-3.2.2-13]
        if will.qos > offer.maximum_qos {
            return refuse(
                ReasonCode::QoSNotSupported,
                "the Will's QoS is above the maximum",
            );
        }
        if will.retain && !offer.retain_available {
            return refuse(
                ReasonCode::RetainNotSupported,
                "the Will asks for RETAIN, which is switched off",
            );
        }
    }
    if connect.client_id.is_empty() {
        // v311[MQTT-3.1.3-8]: without Clean Session there must be an identifier to come back to.
        let stateless = connect.version.is_v5()
            || (connect.version == ProtocolVersion::V311 && connect.clean_start);
        if !stateless || !offer.zero_length_client_id {
            return refuse(
                ReasonCode::ClientIdentifierNotValid,
                "the Client Identifier is empty",
            );
        }
    }
    let (keep_alive_s, server_keep_alive_s) = keep_alive(connect, offer)?;
    let expiry = if connect.version.is_v5() {
        properties.session_expiry_interval().unwrap_or(0)
    } else if connect.clean_start {
        0
    } else {
        NEVER_EXPIRES
    };
    let send_quota = properties
        .receive_maximum()
        .unwrap_or(u16::MAX)
        .min(offer.inflight_messages_max);
    Ok(Terms {
        version: connect.version,
        bridge: connect.bridge,
        clean_start: connect.clean_start,
        session_expiry_interval_s: cap_expiry(expiry, offer),
        shortened_session_expiry_s: Some(cap_expiry(expiry, offer)).filter(|s| *s != expiry),
        keep_alive_s,
        server_keep_alive_s,
        send_quota: if mutant::is_active(Mutant::ReceiveMaximumIgnored) {
            u16::MAX
        } else {
            send_quota
        },
        receive_maximum: if connect.version.is_v5() {
            offer.receive_maximum
        } else {
            u16::MAX
        },
        packet_size_max: properties.maximum_packet_size().unwrap_or(u32::MAX),
        topic_alias_maximum: properties
            .topic_alias_maximum()
            .unwrap_or(0)
            .min(offer.topic_alias_maximum_broker),
        request_problem_information: properties.request_problem_information().unwrap_or(1) != 0,
    })
}

/// `persistent_client_expiration` caps what a client asked for.
#[must_use]
pub fn cap_expiry(seconds: u32, offer: &ServerOffer) -> u32 {
    offer
        .session_expiry_max_s
        .map_or(seconds, |max| seconds.min(max))
}

/// The Keep Alive in force, and the Server Keep Alive to announce.
fn keep_alive(connect: &Connect<'_>, offer: &ServerOffer) -> Result<(u16, Option<u16>), Refusal> {
    let (asked, max) = (connect.keep_alive_s, offer.keep_alive_max_s);
    if max == 0 || (asked != 0 && asked <= max) {
        return Ok((asked, None));
    }
    if connect.version.is_v5() {
        let announced = (!mutant::is_active(Mutant::NoServerKeepAlive)).then_some(max);
        return Ok((max, announced));
    }
    // As Mosquitto: 3.x has no way to be told a shorter one.
    Err(Refusal {
        reason: ReasonCode::ClientIdentifierNotValid,
        why: "the Keep Alive is above max_keepalive",
    })
}

/// The properties of a successful CONNACK, in Mosquitto's order. Empty on 3.x.
#[must_use]
pub fn connack_properties(
    terms: &Terms,
    offer: &ServerOffer,
    assigned_client_id: Option<&str>,
) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    if !terms.version.is_v5() {
        return properties;
    }
    if offer.topic_alias_maximum > 0 {
        properties.push(Property::TopicAliasMaximum(offer.topic_alias_maximum));
    }
    if let Some(seconds) = terms.server_keep_alive_s {
        properties.push(Property::ServerKeepAlive(seconds));
    }
    if let Some(client_id) = assigned_client_id {
        properties.push(Property::AssignedClientIdentifier(client_id));
    }
    if !offer.retain_available {
        properties.push(Property::RetainAvailable(0));
    }
    if offer.maximum_packet_size > 0 {
        properties.push(Property::MaximumPacketSize(offer.maximum_packet_size));
    }
    if offer.receive_maximum < u16::MAX {
        properties.push(Property::ReceiveMaximum(offer.receive_maximum));
    }
    if offer.maximum_qos < QoS::ExactlyOnce {
        properties.push(Property::MaximumQoS(offer.maximum_qos as u8));
    }
    // §3.2.2.3.2
    if let Some(seconds) = terms.shortened_session_expiry_s {
        properties.push(Property::SessionExpiryInterval(seconds));
    }
    properties
}

#[cfg(test)]
mod tests {
    use dunlin_packet::Properties;

    use super::*;

    fn connect(version: ProtocolVersion) -> Connect<'static> {
        Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive_s: 60,
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        }
    }

    fn terms(connect: &Connect<'_>, offer: &ServerOffer) -> Terms {
        negotiate(connect, offer).unwrap()
    }

    #[test]
    fn the_default_connack_is_mosquittos_byte_for_byte() {
        let offer = ServerOffer::default();
        let terms = terms(&connect(ProtocolVersion::V5), &offer);
        let properties = connack_properties(&terms, &offer, None);
        let expected = [0x22, 0, 0x0a, 0x27, 0, 0x1e, 0x84, 0x80, 0x21, 0, 0x14];
        assert_eq!(properties.as_properties().as_bytes(), expected);
    }

    #[test]
    fn clean_session_is_translated() {
        let offer = ServerOffer::default();
        let clean = terms(&connect(ProtocolVersion::V311), &offer);
        assert_eq!(
            (clean.clean_start, clean.session_expiry_interval_s),
            (true, 0)
        );
        let kept = Connect {
            clean_start: false,
            ..connect(ProtocolVersion::V31)
        };
        let kept = terms(&kept, &offer);
        assert_eq!(
            (kept.clean_start, kept.session_expiry_interval_s),
            (false, NEVER_EXPIRES)
        );
        let capped = ServerOffer {
            session_expiry_max_s: Some(7),
            ..ServerOffer::default()
        };
        let kept = Connect {
            clean_start: false,
            ..connect(ProtocolVersion::V311)
        };
        assert_eq!(terms(&kept, &capped).session_expiry_interval_s, 7);
    }

    #[test]
    fn empty_client_ids() {
        let offer = ServerOffer::default();
        let closed = ServerOffer {
            zero_length_client_id: false,
            ..ServerOffer::default()
        };
        let check = |version, clean_start, offer: &ServerOffer| {
            let connect = Connect {
                client_id: "",
                clean_start,
                ..connect(version)
            };
            negotiate(&connect, offer).is_ok()
        };
        assert!(check(ProtocolVersion::V5, false, &offer));
        assert!(check(ProtocolVersion::V311, true, &offer));
        assert!(!check(ProtocolVersion::V311, false, &offer));
        assert!(!check(ProtocolVersion::V31, true, &offer));
        assert!(!check(ProtocolVersion::V5, true, &closed));
    }

    #[test]
    fn keep_alive_above_the_maximum() {
        let offer = ServerOffer {
            keep_alive_max_s: 30,
            ..ServerOffer::default()
        };
        let agreed = terms(&connect(ProtocolVersion::V5), &offer);
        assert_eq!(
            (agreed.keep_alive_s, agreed.server_keep_alive_s),
            (30, Some(30))
        );
        let none = Connect {
            keep_alive_s: 0,
            ..connect(ProtocolVersion::V5)
        };
        assert_eq!(terms(&none, &offer).server_keep_alive_s, Some(30));
        let refusal = negotiate(&connect(ProtocolVersion::V311), &offer).unwrap_err();
        assert_eq!(refusal.reason, ReasonCode::ClientIdentifierNotValid);
        let short = Connect {
            keep_alive_s: 30,
            ..connect(ProtocolVersion::V311)
        };
        assert_eq!(terms(&short, &offer).keep_alive_s, 30);
    }

    #[test]
    fn the_clients_limits_are_kept() {
        let mut asked = PropertiesBuf::new();
        asked.push(Property::ReceiveMaximum(3));
        asked.push(Property::MaximumPacketSize(99));
        asked.push(Property::TopicAliasMaximum(50));
        asked.push(Property::RequestProblemInformation(0));
        let connect = Connect {
            properties: asked.as_properties(),
            ..connect(ProtocolVersion::V5)
        };
        let terms = terms(&connect, &ServerOffer::default());
        assert_eq!(
            (
                terms.send_quota,
                terms.packet_size_max,
                terms.topic_alias_maximum
            ),
            (3, 99, 10)
        );
        assert!(!terms.request_problem_information);
    }
}
