//! The time that packets take to be decoded and encoded, one after the other as they come in a read.

#![expect(
    clippy::unwrap_used,
    reason = "a packet that cannot be made ends the bench"
)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box, black_box_drop};
use dunlin_packet::publish_wire::PublishHeader;
use dunlin_packet::{
    Ack, Connect, Decoded, Packet, PacketId, Properties, PropertiesBuf, Property, ProtocolVersion,
    Publish, QoS, ReasonCode, Rules, Sender, Subscribe, SubscribeBody, SubscriptionOptions,
    TopicName, Will, decode, decode_connect, encode,
};

const TOPIC: &str = "plant/7/oven/temp";

const PAYLOAD: [u8; 64] = [0x2a; 64];

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// Bytes of a long read.
const READ_BYTES: usize = 64 * 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = VERSIONS)]
fn decode_publish(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    bench_decode(bencher, version, &publish(version, Properties::EMPTY));
}

#[divan::bench]
fn decode_publish_with_properties(bencher: Bencher<'_, '_>) {
    let version = ProtocolVersion::V5;
    let packet = publish(version, properties().as_properties());
    bench_decode(bencher, version, &packet);
}

#[divan::bench(args = VERSIONS)]
fn decode_read_of_publish(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    let packet = publish(version, Properties::EMPTY);
    let read = packet.repeat(READ_BYTES / packet.len());
    bench_decode(bencher, version, &read);
}

#[divan::bench(args = VERSIONS)]
fn decode_puback(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    bench_decode(bencher, version, &encoded(version, &Packet::Puback(ack())));
}

/// Ten Topic Filters.
#[divan::bench(args = VERSIONS)]
fn decode_subscribe(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    let mut body = SubscribeBody::new();
    for site in 0..10 {
        let options = SubscriptionOptions::at_qos(QoS::AtLeastOnce);
        body.push(&format!("site/{site}/+/temp"), options);
    }
    let subscribe = Subscribe::from_body(PacketId::FIRST, Properties::EMPTY, body.as_bytes());
    let packet = encoded(version, &Packet::Subscribe(subscribe));
    bench_decode(bencher, version, &packet);
}

/// With a Will, a user name and a password.
#[divan::bench(args = VERSIONS)]
fn decode_first_connect(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    let connect = Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_s: 60,
        client_id: "plant-7-oven",
        will: Some(Will {
            topic: TopicName::new("plant/7/oven/state").unwrap(),
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        }),
        user_name: Some("oven"),
        password: Some(b"a password"),
        properties: Properties::EMPTY,
    };
    let packet = encoded(version, &Packet::Connect(connect));
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| decode_connect(black_box(&packet), u32::MAX).is_ok());
}

#[divan::bench(args = VERSIONS)]
fn encode_publish(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    bench_put(bencher, version, &[]);
}

#[divan::bench]
fn encode_publish_with_properties(bencher: Bencher<'_, '_>) {
    let properties = properties();
    let forwarded = properties.as_properties().as_bytes();
    bench_put(bencher, ProtocolVersion::V5, forwarded);
}

#[divan::bench(args = VERSIONS)]
fn encode_puback(bencher: Bencher<'_, '_>, version: ProtocolVersion) {
    let mut out = Vec::with_capacity(64);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        out.clear();
        let packet = Packet::Puback(black_box(ack()));
        encode(&packet, version, u32::MAX, &mut out).is_ok()
    });
}

/// A PUBLISH for one receiver, as the engine writes it: the header, then the payload.
fn bench_put(bencher: Bencher<'_, '_>, version: ProtocolVersion, forwarded: &[u8]) {
    let header = PublishHeader {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TOPIC,
        packet_id: Some(PacketId::FIRST),
        version,
        own_properties: &[],
        forwarded,
        payload_len: PAYLOAD.len(),
    };
    let mut out = Vec::with_capacity(512);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        out.clear();
        let packet_id_at = black_box(&header).put(&mut out);
        out.extend_from_slice(black_box(&PAYLOAD));
        packet_id_at
    });
}

fn bench_decode(bencher: Bencher<'_, '_>, version: ProtocolVersion, bytes: &[u8]) {
    let rules = Rules {
        version,
        sender: Sender::Client,
        packet_size_max: u32::MAX,
    };
    let packets = decode_all(bytes, &rules);
    bencher
        .counter(ItemsCount::new(packets))
        .bench_local(|| decode_all(black_box(bytes), &rules));
}

/// Decodes one packet after the other; returns how many there were.
fn decode_all(bytes: &[u8], rules: &Rules) -> usize {
    let mut rest = bytes;
    let mut packets = 0;
    while let Decoded::Packet { packet, len } = decode(rest, rules).unwrap() {
        black_box_drop(&packet);
        rest = &rest[len..];
        packets += 1;
    }
    packets
}

fn publish(version: ProtocolVersion, properties: Properties<'_>) -> Vec<u8> {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: TOPIC,
        packet_id: None,
        properties,
        payload: &PAYLOAD,
    };
    encoded(version, &Packet::Publish(publish))
}

fn properties() -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ContentType("application/json"));
    properties.push(Property::MessageExpiryInterval(3600));
    properties.push(Property::UserProperty("line", "north-2"));
    properties
}

fn ack() -> Ack<'static> {
    Ack {
        packet_id: PacketId::FIRST,
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    }
}

fn encoded(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, u32::MAX, &mut bytes).unwrap();
    bytes
}
