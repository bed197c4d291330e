//! MQTT 3.1.1: CONNECT, its strings, flags and fields, and the CONNACK that answers it.
//!
//! A CONNECT that breaks its format is answered by a close alone, one that is refused by a return code and a close. The
//! helpers at the end serve the other modules of 3.x.

use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, PublishSpec, Raw, WillSpec, Wire, wire};

const CLEAN_SESSION: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_3: u8 = 0x18;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

const ACCEPTED: &str = "20 02 00 00";
const REFUSED_LEVEL: &str = "20 02 00 01";
const REFUSED_CLIENT_ID: &str = "20 02 00 02";
const REFUSED_NOT_AUTHORIZED: &str = "20 02 00 05";

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_connect_strings_are_utf8,
        [
            "v311[MQTT-1.5.3-1]",
            "v311[MQTT-3.1.3-4]",
            "v311[MQTT-3.1.3-10]",
            "v311[MQTT-3.1.3-11]",
            "v311[MQTT-3.1.4-1]"
        ]
    ),
    case!(
        v311_connect_strings_have_no_null,
        ["v311[MQTT-1.5.3-2]", "v311[MQTT-3.1.4-1]"]
    ),
    case!(v311_other_protocol_name_closes, ["v311[MQTT-3.1.2-1]"]),
    case!(
        v311_unsupported_level_is_refused,
        [
            "v311[MQTT-3.1.2-2]",
            "v311[MQTT-3.2.2-4]",
            "v311[MQTT-3.2.2-5]"
        ]
    ),
    case!(
        v311_reserved_connect_flag_closes,
        ["v311[MQTT-3.1.2-3]", "v311[MQTT-3.1.4-1]"]
    ),
    case!(
        v311_will_bits_without_will_close,
        [
            "v311[MQTT-3.1.2-11]",
            "v311[MQTT-3.1.2-13]",
            "v311[MQTT-3.1.2-15]",
            "v311[MQTT-3.1.4-1]"
        ]
    ),
    case!(
        v311_will_qos_3_closes,
        ["v311[MQTT-3.1.2-14]", "v311[MQTT-3.1.4-1]"]
    ),
    case!(
        v311_will_without_its_fields_closes,
        ["v311[MQTT-3.1.2-9]", "v311[MQTT-3.1.4-1]"]
    ),
    case!(
        v311_user_name_and_password_follow_their_flags,
        [
            "v311[MQTT-3.1.2-18]",
            "v311[MQTT-3.1.2-19]",
            "v311[MQTT-3.1.2-20]",
            "v311[MQTT-3.1.2-21]",
            "v311[MQTT-3.1.2-22]"
        ]
    ),
    case!(
        v311_connect_payload_is_read_in_order,
        [
            "v311[MQTT-3.1.3-1]",
            "v311[MQTT-3.1.3-3]",
            "v311[MQTT-3.1.2-9]"
        ]
    ),
    case!(
        v311_connect_cut_anywhere_closes,
        ["v311[MQTT-3.1.4-1]", "v311[MQTT-3.1.3-3]"]
    ),
    case!(
        v311_connect_with_bytes_behind_it_closes,
        ["v311[MQTT-3.1.4-1]"]
    ),
    case!(
        v311_client_ids_of_1_to_23_letters_and_digits,
        ["v311[MQTT-3.1.3-5]", "v311[MQTT-3.1.4-4]"]
    ),
    case!(v311_longer_client_ids_are_taken, ["v311[MQTT-3.1.4-4]"]),
    case!(
        v311_empty_client_id_gets_a_unique_one,
        [
            "v311[MQTT-3.1.3-6]",
            "v311[MQTT-3.1.3-7]",
            "v311[MQTT-3.2.2-1]"
        ]
    ),
    case!(
        v311_empty_client_id_without_clean_session_is_refused,
        [
            "v311[MQTT-3.1.3-8]",
            "v311[MQTT-3.1.3-7]",
            "v311[MQTT-3.2.2-4]",
            "v311[MQTT-3.2.2-5]"
        ]
    ),
    case!(
        v311_client_id_that_is_not_allowed_is_refused,
        [
            "v311[MQTT-3.1.3-9]",
            "v311[MQTT-3.2.2-4]",
            "v311[MQTT-3.2.2-5]"
        ]
    ),
    case!(
        v311_anonymous_client_is_refused,
        ["v311[MQTT-3.2.2-4]", "v311[MQTT-3.2.2-5]"]
    ),
    case!(
        v311_connect_that_no_code_refuses_is_closed,
        ["v311[MQTT-3.2.2-6]"]
    ),
    case!(
        v311_bytes_behind_a_refused_connect_are_ignored,
        ["v311[MQTT-3.1.4-5]"]
    ),
    case!(
        v311_connack_comes_first,
        ["v311[MQTT-3.2.0-1]", "v311[MQTT-3.1.4-4]"]
    ),
];

fn v311_connect_strings_are_utf8(lab: &Lab) {
    let (id, message) = (wire::string(&lab.unique("utf8")), wire::binary(b"gone"));
    let (topic, user) = (wire::string(&lab.unique("utf8")), wire::string("user"));
    for bytes in ILL_FORMED {
        let bad = wire::binary(bytes);
        assert_refused_in_silence(lab.broker(), &connect_of(CLEAN_SESSION, &[&bad]));
        let will = connect_of(CLEAN_SESSION | WILL, &[&id, &bad, &message]);
        assert_refused_in_silence(lab.broker(), &will);
        let name = connect_of(CLEAN_SESSION | USER_NAME, &[&id, &bad]);
        assert_refused_in_silence(lab.broker(), &name);
        // The message of a Will and the password are bytes of any kind.
        let flags = CLEAN_SESSION | WILL | USER_NAME | PASSWORD;
        let fields: [&[u8]; 5] = [&id, &topic, &bad, &user, &bad];
        let mut raw = lab.broker().raw().speaking(4);
        raw.send(&connect_of(flags, &fields));
        raw.expect_hex(ACCEPTED);
    }
}

fn v311_connect_strings_have_no_null(lab: &Lab) {
    let (id, message) = (wire::string(&lab.unique("null")), wire::binary(b"gone"));
    for text in ["\0", "a\0", "\0a", "a\0b"] {
        let bad = wire::string(text);
        assert_refused_in_silence(lab.broker(), &connect_of(CLEAN_SESSION, &[&bad]));
        let will = connect_of(CLEAN_SESSION | WILL, &[&id, &bad, &message]);
        assert_refused_in_silence(lab.broker(), &will);
        let name = connect_of(CLEAN_SESSION | USER_NAME, &[&id, &bad]);
        assert_refused_in_silence(lab.broker(), &name);
    }
}

fn v311_other_protocol_name_closes(lab: &Lab) {
    for name in ["MQTX", "mqtt", "MQT", "MQTTT", "", "MQIsdq", "AMQP"] {
        let body = [wire::string(name), vec![4], wire::hex("02 00 00 00 01 61")].concat();
        assert_refused_in_silence(lab.broker(), &wire::packet(0x10, &body));
    }
}

/// A level that nobody knows does not say how to answer it: in the form of 3.1.1, or in that of 5.0, where 0x84 means
/// the same. `MQIsdp` leaves no choice.
fn v311_unsupported_level_is_refused(lab: &Lab) {
    let rest = wire::hex("02 00 00 00 01 61");
    for level in [0, 1, 2, 9] {
        let body = [wire::string("MQIsdp"), vec![level], rest.clone()].concat();
        let mut raw = lab.broker().raw().speaking(4);
        raw.send(&wire::packet(0x10, &body));
        raw.expect_hex(REFUSED_LEVEL);
        raw.expect_closed();
    }
    for level in [0, 2, 6, 0x7F] {
        let body = [wire::string("MQTT"), vec![level], rest.clone()].concat();
        let mut raw = lab.broker().raw().speaking(4);
        raw.send(&wire::packet(0x10, &body));
        let answer: Vec<String> = raw.try_recv_closed().iter().map(Wire::to_hex).collect();
        let refused = answer == [REFUSED_LEVEL] || answer == ["20 03 00 84 00"];
        assert!(refused, "level {level} is answered by {answer:?}");
    }
}

fn v311_reserved_connect_flag_closes(lab: &Lab) {
    let (id, user) = (wire::string(&lab.unique("flag")), wire::string("user"));
    assert_refused_in_silence(lab.broker(), &connect_of(0x01, &[&id]));
    assert_refused_in_silence(lab.broker(), &connect_of(CLEAN_SESSION | 0x01, &[&id]));
    let named = connect_of(CLEAN_SESSION | USER_NAME | 0x01, &[&id, &user]);
    assert_refused_in_silence(lab.broker(), &named);
}

fn v311_will_bits_without_will_close(lab: &Lab) {
    let id = wire::string(&lab.unique("will-bits"));
    for bits in [0x08, 0x10, WILL_QOS_3, 0x20, 0x28, 0x38] {
        assert_refused_in_silence(lab.broker(), &connect_of(CLEAN_SESSION | bits, &[&id]));
    }
}

fn v311_will_qos_3_closes(lab: &Lab) {
    let (id, topic) = (wire::string(&lab.unique("will-qos")), wire::string("will"));
    let message = wire::binary(b"gone");
    for retain in [0, 0x20] {
        let flags = CLEAN_SESSION | WILL | WILL_QOS_3 | retain;
        assert_refused_in_silence(lab.broker(), &connect_of(flags, &[&id, &topic, &message]));
    }
}

fn v311_will_without_its_fields_closes(lab: &Lab) {
    let (id, topic) = (
        wire::string(&lab.unique("will-fields")),
        wire::string("will"),
    );
    let flags = CLEAN_SESSION | WILL;
    assert_refused_in_silence(lab.broker(), &connect_of(flags, &[&id]));
    assert_refused_in_silence(lab.broker(), &connect_of(flags, &[&id, &topic]));
    // The fields without the flag.
    let message = wire::binary(b"gone");
    assert_refused_in_silence(
        lab.broker(),
        &connect_of(CLEAN_SESSION, &[&id, &topic, &message]),
    );
}

fn v311_user_name_and_password_follow_their_flags(lab: &Lab) {
    let id = wire::string(&lab.unique("user"));
    let (user, password) = (wire::string("user"), wire::binary(b"secret"));
    let (empty, both) = (wire::string(""), USER_NAME | PASSWORD);
    let wrong: [(u8, &[&[u8]]); 6] = [
        (0, &[&id, &user]),
        (0, &[&id, &user, &password]),
        (USER_NAME, &[&id]),
        (USER_NAME, &[&id, &user, &password]),
        (both, &[&id, &user]),
        // 3.1.1 wants a User Name beside every Password.
        (PASSWORD, &[&id, &password]),
    ];
    for (flags, fields) in wrong {
        assert_refused_in_silence(lab.broker(), &connect_of(CLEAN_SESSION | flags, fields));
    }
    let right: [(u8, &[&[u8]]); 5] = [
        (0, &[&id]),
        (USER_NAME, &[&id, &user]),
        (USER_NAME, &[&id, &empty]),
        (both, &[&id, &user, &password]),
        (both, &[&id, &empty, &empty]),
    ];
    for (flags, fields) in right {
        let mut raw = lab.broker().raw().speaking(4);
        raw.send(&connect_of(CLEAN_SESSION | flags, fields));
        raw.expect_hex(ACCEPTED);
    }
}

/// The Client Identifier is what a second connection takes over, and topic and message are what the Will brings.
fn v311_connect_payload_is_read_in_order(lab: &Lab) {
    let (id, topic) = (lab.unique("order"), lab.unique("order"));
    let mut watcher = lab.broker().v311(&lab.unique("order-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 0)]), [0]);
    let fields = [
        wire::string(&id),
        wire::string(&topic),
        wire::binary(b"message"),
        wire::string("user"),
        wire::binary(b"password"),
    ];
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    let mut older = lab.broker().raw().speaking(4);
    older.send(&connect_of(
        CLEAN_SESSION | WILL | USER_NAME | PASSWORD,
        &fields,
    ));
    older.expect_hex(ACCEPTED);
    let mut newer = lab.broker().v311(&id);
    older.expect_closed();
    assert!(newer.ping().is_empty());
    let will = watcher.recv_publish();
    assert_eq!(
        (will.topic, will.payload.as_slice()),
        (topic, b"message".as_slice())
    );
}

fn v311_connect_cut_anywhere_closes(lab: &Lab) {
    let id = lab.unique("cut");
    let whole = full_connect(&id).to_bytes();
    let body = whole.get(2..).unwrap_or_default();
    for cut in 0..body.len() {
        let connect = wire::packet(0x10, body.get(..cut).unwrap_or_default());
        assert_refused_in_silence(lab.broker(), &connect);
    }
    let mut raw = lab.broker().raw().speaking(4);
    raw.send(&whole);
    raw.expect_hex(ACCEPTED);
}

fn v311_connect_with_bytes_behind_it_closes(lab: &Lab) {
    let whole = full_connect(&lab.unique("behind")).to_bytes();
    let body = whole.get(2..).unwrap_or_default();
    for behind in [b"\0".as_slice(), b"\0\x04more"] {
        assert_refused_in_silence(lab.broker(), &wire::packet(0x10, &[body, behind].concat()));
    }
}

/// On a broker of its own: such short identifiers are not unique.
fn v311_client_ids_of_1_to_23_letters_and_digits(lab: &Lab) {
    let broker = lab.broker_with("");
    for longest in [
        "0123456789ABCDEFGHIJKLM",
        "NOPQRSTUVWXYZabcdefghij",
        "klmnopqrstuvwxyz0A1b2C3",
    ] {
        for length in 1..=23 {
            let id = longest.get(..length).unwrap_or_default();
            assert!(broker.v311(id).ping().is_empty(), "{id:?}");
        }
    }
    for character in ('0'..='9').chain('A'..='Z').chain('a'..='z') {
        assert!(
            broker.v311(&character.to_string()).ping().is_empty(),
            "{character:?}"
        );
    }
}

fn v311_longer_client_ids_are_taken(lab: &Lab) {
    let unique = lab.unique("long");
    let thousand = "x".repeat(1000);
    for end in [
        "0123456789abcdefghijklmnopqrstuvwxyz",
        " /-_.:%",
        "é鍵🗝",
        thousand.as_str(),
    ] {
        assert!(
            lab.broker()
                .v311(&format!("{unique}{end}"))
                .ping()
                .is_empty(),
            "{end:?}"
        );
    }
}

fn v311_empty_client_id_gets_a_unique_one(lab: &Lab) {
    let topic = lab.unique("nameless");
    let mut clients: Vec<Raw> = (0..5).map(|_| lab.broker().v311("")).collect();
    for client in &mut clients {
        assert!(!client.session_present());
        assert_eq!(client.subscribe(&[(&topic, 0)]), [0]);
    }
    lab.broker()
        .v311("")
        .publish(&PublishSpec::new(&topic, b"to all", 1));
    for client in &mut clients {
        assert_eq!(
            client.recv_publish().payload,
            b"to all",
            "two clients share an identifier"
        );
    }
}

fn v311_empty_client_id_without_clean_session_is_refused(lab: &Lab) {
    let mut raw = lab.broker().raw().speaking(4);
    raw.send(
        &ConnectSpec {
            clean: false,
            ..ConnectSpec::v311("")
        }
        .to_bytes(),
    );
    raw.expect_hex(REFUSED_CLIENT_ID);
    raw.expect_closed();
}

fn v311_client_id_that_is_not_allowed_is_refused(lab: &Lab) {
    let broker = lab.broker_with("allow_zero_length_clientid false");
    for clean in [true, false] {
        let mut raw = broker.raw().speaking(4);
        raw.send(
            &ConnectSpec {
                clean,
                ..ConnectSpec::v311("")
            }
            .to_bytes(),
        );
        raw.expect_hex(REFUSED_CLIENT_ID);
        raw.expect_closed();
    }
    assert!(broker.v311("named").ping().is_empty());
}

fn v311_anonymous_client_is_refused(lab: &Lab) {
    let broker = lab.broker_with("allow_anonymous false");
    for clean in [true, false] {
        let mut raw = broker.raw().speaking(4);
        raw.send(
            &ConnectSpec {
                clean,
                ..ConnectSpec::v311("nobody")
            }
            .to_bytes(),
        );
        raw.expect_hex(REFUSED_NOT_AUTHORIZED);
        raw.expect_closed();
    }
}

/// A Will whose topic is none: the packet is well formed, and there is no return code for it.
fn v311_connect_that_no_code_refuses_is_closed(lab: &Lab) {
    let id = lab.unique("no-code");
    for topic in ["", "#", "a/+", "a/#", "+/b"] {
        let will = Some(WillSpec::new(topic, b"gone"));
        let connect = ConnectSpec {
            will,
            ..ConnectSpec::v311(&id)
        };
        assert_refused_in_silence(lab.broker(), &connect.to_bytes());
    }
}

fn v311_bytes_behind_a_refused_connect_are_ignored(lab: &Lab) {
    let topic = lab.unique("refused");
    let mut watcher = lab.broker().v311(&lab.unique("refused-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 1)]), [1]);
    let mut raw = lab.broker().raw().speaking(4);
    let connect = ConnectSpec {
        clean: false,
        ..ConnectSpec::v311("")
    };
    let publish = PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"refused", 1)
    };
    raw.send(&[connect.to_bytes(), publish.to_bytes(4)].concat());
    raw.expect_hex(REFUSED_CLIENT_ID);
    raw.expect_closed();
    let mut publisher = lab.broker().v311(&lab.unique("refused"));
    publisher.publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(watcher.recv_publish().payload, b"marker");
}

fn v311_connack_comes_first(lab: &Lab) {
    let (id, topic) = (lab.unique("first"), lab.unique("first"));
    let bytes = [
        ConnectSpec::v311(&id).to_bytes(),
        wire::subscribe(4, 1, &[], &[(&topic, 1)]),
        PublishSpec::new(&topic, b"x", 0).to_bytes(4),
    ];
    let mut raw = lab.broker().raw().speaking(4);
    raw.send(&bytes.concat());
    raw.expect_hex(ACCEPTED);
    raw.expect_hex("90 03 00 01 01");
    assert_eq!(raw.recv_publish().payload, b"x");
}

/// Bytes that are no UTF-8: a broken sequence, overlong forms, surrogates, beyond U+10FFFF, a sequence that is cut, a
/// byte that never occurs.
pub(super) const ILL_FORMED: [&[u8]; 8] = [
    &[0xC3, 0x28],
    &[0xC0, 0x80],
    &[0xE0, 0x80, 0xAF],
    &[0xED, 0xA0, 0x80],
    &[0xED, 0xBF, 0xBF],
    &[0xF4, 0x90, 0x80, 0x80],
    &[b'a', 0xE2, 0x82],
    &[b'a', 0xFF],
];

/// A CONNECT of 3.1.1 with Keep Alive 0, put together of these flags and these fields of the payload: right or wrong.
pub(super) fn connect_of(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = wire::string("MQTT");
    body.extend([4, flags, 0, 0]);
    body.extend(fields.concat());
    wire::packet(0x10, &body)
}

/// A packet of this first byte and these fields, whatever they are.
pub(super) fn packet_of(first: u8, fields: &[&[u8]]) -> Vec<u8> {
    wire::packet(first, &fields.concat())
}

/// A CONNECT of 3.1.1 with every field that it can have.
pub(super) fn full_connect(client_id: &str) -> ConnectSpec<'_> {
    ConnectSpec {
        will: Some(WillSpec::new("will", b"gone")),
        user: Some("user"),
        password: Some(b"secret"),
        ..ConnectSpec::v311(client_id)
    }
}

/// These first bytes of a connection are answered by a close and nothing else.
#[track_caller]
pub(super) fn assert_refused_in_silence(broker: &Broker, bytes: &[u8]) {
    let mut raw = broker.raw().speaking(4);
    raw.send(bytes);
    raw.expect_closed();
}

/// A client of 3.1.1 that sends this after its CONNECT is closed without a word.
#[track_caller]
pub(super) fn assert_closes(lab: &Lab, bytes: &[u8]) {
    let mut raw = lab.broker().v311(&lab.unique("closes"));
    raw.send(bytes);
    raw.expect_closed();
}

/// The CONNECT of a Session that outlives its connection.
pub(super) fn kept(client_id: &str) -> ConnectSpec<'_> {
    ConnectSpec {
        clean: false,
        ..ConnectSpec::v311(client_id)
    }
}
