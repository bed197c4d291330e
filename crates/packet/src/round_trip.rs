//! Packets made at random survive the way to bytes and back, and bytes made at random do no harm.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::ack::Ack;
use crate::auth::Auth;
use crate::connack::Connack;
use crate::connect::{Connect, Will};
use crate::decode::{Decoded, Sender, decode, decode_connect};
use crate::disconnect::Disconnect;
use crate::encode::{EncodeError, encode};
use crate::packet::{Packet, PacketType};
use crate::packet_id::PacketId;
use crate::properties::{Properties, PropertiesBuf};
use crate::property::{Property, PropertyHost};
use crate::publish::Publish;
use crate::qos::QoS;
use crate::reason::ReasonCode;
use crate::suback::Suback;
use crate::subscribe::{RetainHandling, Subscribe, SubscribeBody, SubscriptionOptions};
use crate::testing::{NO_MAXIMUM, V5, V31, V311, check_prefixes, decode_as, id, rules};
use crate::topic::TopicName;
use crate::unsuback::Unsuback;
use crate::unsubscribe::{Unsubscribe, UnsubscribeBody};
use crate::version::ProtocolVersion;

const SENDERS: [Sender; 2] = [Sender::Client, Sender::Server];
const VERSIONS: [ProtocolVersion; 3] = [V31, V311, V5];

fn any_version() -> impl Strategy<Value = ProtocolVersion> {
    (0..VERSIONS.len()).prop_map(|index| VERSIONS[index])
}

fn any_qos() -> impl Strategy<Value = QoS> {
    (0..3u8).prop_map(|bits| QoS::from_bits(bits).unwrap())
}

fn any_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(id)
}

/// Text as MQTT takes it.
fn any_text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

fn any_topic() -> impl Strategy<Value = String> {
    any_text().prop_map(|text| format!("t/{}", text.replace(['+', '#'], "/")))
}

fn any_data() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

fn any_reason(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    let allowed: Vec<ReasonCode> = ReasonCode::ALL
        .iter()
        .copied()
        .filter(|reason| reason.allowed_in(packet_type))
        .collect();
    (0..allowed.len()).prop_map(move |index| allowed[index])
}

fn any_reasons(packet_type: PacketType) -> impl Strategy<Value = Vec<u8>> {
    vec(any_reason(packet_type).prop_map(ReasonCode::code), 1..8)
}

/// A block that may stand in this host, by this sender.
fn any_properties(host: PropertyHost, sender: Sender) -> impl Strategy<Value = PropertiesBuf> {
    let ingredients = (
        any::<u8>(),
        any::<u32>(),
        any_text(),
        any_topic(),
        any_data(),
    );
    vec(ingredients, 0..6).prop_map(move |ingredients| {
        let mut block = PropertiesBuf::new();
        let mut seen = Vec::new();
        for (kind, number, text, topic, data) in &ingredients {
            let property = property_of(*kind, *number, text, topic, data);
            let repeated = seen.contains(&property.id()) && !property.may_repeat_in(host);
            let by_other = match property {
                Property::SubscriptionIdentifier(_) => sender == Sender::Client,
                Property::SessionExpiryInterval(_) => sender == Sender::Server,
                _ => false,
            };
            if property.allowed_in(host) && !repeated && !by_other {
                seen.push(property.id());
                block.push(property);
            }
        }
        block
    })
}

fn property_of<'a>(
    kind: u8,
    number: u32,
    text: &'a str,
    topic: &'a str,
    data: &'a [u8],
) -> Property<'a> {
    let bit = (number & 1) as u8;
    let short = (number as u16).max(1);
    match kind % 16 {
        0 => Property::PayloadFormatIndicator(bit),
        1 => Property::MessageExpiryInterval(number),
        2 => Property::ContentType(text),
        3 => Property::ResponseTopic(topic),
        4 => Property::CorrelationData(data),
        5 => Property::SubscriptionIdentifier((number >> 4).max(1)),
        6 => Property::SessionExpiryInterval(number),
        7 => Property::ReceiveMaximum(short),
        8 => Property::TopicAlias(short),
        9 => Property::MaximumPacketSize(number.max(1)),
        10 => Property::MaximumQoS(bit),
        11 => Property::WillDelayInterval(number),
        12 => Property::AuthenticationMethod(text),
        13 => Property::ReasonString(text),
        14 => Property::ServerKeepAlive(short),
        _ => Property::UserProperty(text, topic),
    }
}

fn in_packet(packet_type: PacketType, sender: Sender) -> impl Strategy<Value = PropertiesBuf> {
    any_properties(PropertyHost::Packet(packet_type), sender)
}

/// The properties that a packet of this version can have.
fn of_version(version: ProtocolVersion, block: &PropertiesBuf) -> Properties<'_> {
    if version.is_v5() {
        block.as_properties()
    } else {
        Properties::EMPTY
    }
}

/// Encoded and decoded, the packet is the same, and no prefix of its bytes is a packet.
fn check_round_trip(packet: &Packet<'_>, version: ProtocolVersion, sender: Sender) {
    let mut bytes = Vec::new();
    encode(packet, version, NO_MAXIMUM, &mut bytes).unwrap();
    let decoded = decode_as(version, sender, packet.packet_type(), &bytes);
    let len = bytes.len();
    assert_eq!(
        decoded,
        Ok(Decoded::Packet {
            packet: *packet,
            len
        })
    );
    check_prefixes(version, sender, packet.packet_type(), &bytes);
    check_size_limits(packet, version, &bytes);
}

/// A limit is never exceeded, and one that the packet keeps takes nothing away from it.
fn check_size_limits(packet: &Packet<'_>, version: ProtocolVersion, bytes: &[u8]) {
    for size_max in [bytes.len(), bytes.len() / 2, 2] {
        let mut out = Vec::new();
        match encode(packet, version, size_max as u32, &mut out) {
            Ok(()) => assert!(out.len() <= size_max),
            Err(error) => {
                assert!(matches!(error, EncodeError::TooLarge { .. }), "{error}");
                assert!(out.is_empty() && size_max < bytes.len());
            }
        }
        if size_max == bytes.len() {
            assert_eq!(out, bytes);
        }
    }
}

proptest! {
    #[test]
    fn connect(
        version in any_version(),
        bridge in any::<bool>(),
        clean_start in any::<bool>(),
        keep_alive_s in any::<u16>(),
        client_id in any_text(),
        will in proptest::option::of((any_topic(), any_data(), any_qos(), any::<bool>())),
        will_block in any_properties(PropertyHost::Will, Sender::Client),
        user_name in any_text(),
        password in proptest::option::of(any_data()),
        block in in_packet(PacketType::Connect, Sender::Client),
    ) {
        let will = will.as_ref().map(|(topic, payload, qos, retain)| Will {
            topic: TopicName::new(topic).unwrap(),
            payload,
            qos: *qos,
            retain: *retain,
            properties: of_version(version, &will_block),
        });
        let connect = Connect {
            version,
            bridge: bridge && !version.is_v5(),
            clean_start,
            keep_alive_s,
            client_id: &client_id,
            will,
            user_name: Some(user_name.as_str()),
            password: password.as_deref(),
            properties: of_version(version, &block),
        };
        check_round_trip(&Packet::Connect(connect), version, Sender::Client);
    }

    #[test]
    fn connack(
        session_present in any::<bool>(),
        reason in any_reason(PacketType::Connack),
        code in 0..=5u8,
        version in any_version(),
        block in in_packet(PacketType::Connack, Sender::Server),
    ) {
        let reason = if version.is_v5() {
            reason
        } else {
            ReasonCode::from_connack_v3(code).unwrap()
        };
        let session_present = session_present && !reason.is_error() && version != V31;
        let properties = of_version(version, &block);
        let connack = Connack { session_present, reason, properties };
        check_round_trip(&Packet::Connack(connack), version, Sender::Server);
    }

    #[test]
    fn publish(
        version in any_version(),
        dup in any::<bool>(),
        qos in any_qos(),
        retain in any::<bool>(),
        topic in any_topic(),
        packet_id in any_id(),
        block in in_packet(PacketType::Publish, Sender::Server),
        payload in any_data(),
    ) {
        let above_qos0 = qos != QoS::AtMostOnce;
        let publish = Publish {
            dup: dup && above_qos0,
            qos,
            retain,
            topic: &topic,
            packet_id: above_qos0.then_some(packet_id),
            properties: of_version(version, &block),
            payload: &payload,
        };
        check_round_trip(&Packet::Publish(publish), version, Sender::Server);
    }

    #[test]
    fn acknowledgements(
        version in any_version(),
        packet_id in any_id(),
        received in any_reason(PacketType::Pubrec),
        completed in any_reason(PacketType::Pubcomp),
        block in in_packet(PacketType::Puback, Sender::Client),
    ) {
        let properties = of_version(version, &block);
        let ack = |reason| Ack {
            packet_id,
            reason: if version.is_v5() { reason } else { ReasonCode::Success },
            properties,
        };
        for packet in [
            Packet::Puback(ack(received)),
            Packet::Pubrec(ack(received)),
            Packet::Pubrel(ack(completed)),
            Packet::Pubcomp(ack(completed)),
        ] {
            check_round_trip(&packet, version, Sender::Client);
        }
    }

    #[test]
    fn subscribe(
        version in any_version(),
        packet_id in any_id(),
        filters in vec((any_text(), any_qos(), any::<bool>(), any::<bool>(), 0..3u8), 1..8),
        block in in_packet(PacketType::Subscribe, Sender::Server),
    ) {
        let mut body = SubscribeBody::new();
        for (filter, qos, no_local, retain_as_published, retain_handling) in &filters {
            let plain = SubscriptionOptions::at_qos(*qos);
            let options = SubscriptionOptions {
                no_local: *no_local,
                retain_as_published: *retain_as_published,
                retain_handling: RetainHandling::from_bits(*retain_handling).unwrap(),
                ..plain
            };
            body.push(filter, if version.is_v5() { options } else { plain });
        }
        let properties = of_version(version, &block);
        let subscribe = Subscribe::from_body(packet_id, properties, body.as_bytes());
        check_round_trip(&Packet::Subscribe(subscribe), version, Sender::Client);
    }

    #[test]
    fn unsubscribe(
        version in any_version(),
        packet_id in any_id(),
        filters in vec(any_text(), 1..8),
        block in in_packet(PacketType::Unsubscribe, Sender::Client),
    ) {
        let mut body = UnsubscribeBody::new();
        for filter in &filters {
            body.push(filter);
        }
        let properties = of_version(version, &block);
        let unsubscribe = Unsubscribe::from_body(packet_id, properties, body.as_bytes());
        check_round_trip(&Packet::Unsubscribe(unsubscribe), version, Sender::Client);
    }

    #[test]
    fn answers_to_subscriptions(
        packet_id in any_id(),
        granted in any_reasons(PacketType::Suback),
        ended in any_reasons(PacketType::Unsuback),
        block in in_packet(PacketType::Suback, Sender::Server),
    ) {
        let properties = block.as_properties();
        let suback = Suback { packet_id, properties, reasons: &granted };
        prop_assert_eq!(suback.codes().count(), granted.len());
        check_round_trip(&Packet::Suback(suback), V5, Sender::Server);
        let unsuback = Unsuback { packet_id, properties, reasons: &ended };
        prop_assert_eq!(unsuback.codes().count(), ended.len());
        check_round_trip(&Packet::Unsuback(unsuback), V5, Sender::Server);
    }

    #[test]
    fn disconnect_and_auth(
        reason in any_reason(PacketType::Disconnect),
        block in in_packet(PacketType::Disconnect, Sender::Client),
        step in any_reason(PacketType::Auth),
        step_block in in_packet(PacketType::Auth, Sender::Client),
    ) {
        let disconnect = Disconnect { reason, properties: block.as_properties() };
        check_round_trip(&Packet::Disconnect(disconnect), V5, Sender::Client);
        let auth = Auth { reason: step, properties: step_block.as_properties() };
        check_round_trip(&Packet::Auth(auth), V5, Sender::Client);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..64)) {
        check_any_bytes(&bytes);
    }

    /// The header is right, so that more gets past it; small numbers make likely lengths.
    #[test]
    fn random_bodies_do_no_harm(
        first in any::<u8>(),
        body in vec(prop_oneof![any::<u8>(), 0..0x30u8, Just(0u8), Just(1u8)], 0..40),
    ) {
        let flags = PacketType::from_u8(first >> 4).map_or(0, PacketType::first_byte) & 0x0F;
        let is_publish = first >> 4 == PacketType::Publish as u8;
        let first = if is_publish { first } else { (first & 0xF0) | flags };
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend_from_slice(&body);
        check_any_bytes(&bytes);
    }

    #[test]
    fn random_connects_do_no_harm(
        level in prop_oneof![Just(4u8), Just(5u8)],
        flags in any::<u8>(),
        body in vec(prop_oneof![any::<u8>(), Just(0u8), Just(1u8), Just(2u8)], 0..40),
    ) {
        let remaining = body.len() as u8 + 8;
        let mut bytes = vec![0x10, remaining, 0, 4, b'M', b'Q', b'T', b'T', level, flags];
        bytes.extend_from_slice(&body);
        check_any_bytes(&bytes);
    }
}

/// Whatever the bytes are, nothing panics; what is taken for a packet is the same when it has been
/// written and read again.
fn check_any_bytes(bytes: &[u8]) {
    for version in VERSIONS {
        for sender in SENDERS {
            match decode(bytes, &rules(version, sender)) {
                Ok(Decoded::Packet { packet, len }) => {
                    assert!(len <= bytes.len());
                    check_again(&packet, version, sender);
                }
                Ok(Decoded::Incomplete { needed }) => assert!(needed > bytes.len()),
                Err(error) => assert!(error.reason_code().is_error()),
            }
        }
    }
    if let Ok(Decoded::Packet { packet, .. }) = decode_connect(bytes, NO_MAXIMUM) {
        assert_eq!(packet.packet_type(), PacketType::Connect);
    }
}

fn check_again(packet: &Packet<'_>, version: ProtocolVersion, sender: Sender) {
    assert!(!format!("{packet:?}").is_empty());
    let mut bytes = Vec::new();
    encode(packet, version, NO_MAXIMUM, &mut bytes).unwrap();
    let decoded = decode(&bytes, &rules(version, sender));
    let len = bytes.len();
    assert_eq!(
        decoded,
        Ok(Decoded::Packet {
            packet: *packet,
            len
        })
    );
}
