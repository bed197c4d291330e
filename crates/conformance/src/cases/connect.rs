//! CONNECT, its form and its flags: section 3.1 of MQTT 5.0, without Sessions, Wills and limits.

use std::collections::BTreeSet;

use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, OwnedProp, Prop, PublishSpec, Raw, WillSpec, wire};

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
const AUTHENTICATION_METHOD: u8 = 0x15;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

const CLEAN_START: u8 = 0x02;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(first_packet_must_be_connect, ["v5[MQTT-3.1.0-1]"]),
    case!(second_connect_is_a_protocol_error, ["v5[MQTT-3.1.0-2]"]),
    case!(second_connect_takes_nothing_over, ["v5[MQTT-3.1.0-2]"]),
    case!(other_protocol_name_is_closed, ["v5[MQTT-3.1.2-1]"]),
    case!(other_protocol_version_is_refused, ["v5[MQTT-3.1.2-2]"]),
    case!(other_version_of_mqisdp_is_refused, ["v5[MQTT-3.1.2-2]"]),
    case!(reserved_connect_flag_is_malformed, ["v5[MQTT-3.1.2-3]"]),
    case!(
        user_name_without_its_flag_is_malformed,
        ["v5[MQTT-3.1.2-16]"]
    ),
    case!(
        user_name_flag_without_user_name_is_malformed,
        ["v5[MQTT-3.1.2-17]"]
    ),
    case!(
        password_without_its_flag_is_malformed,
        ["v5[MQTT-3.1.2-18]"]
    ),
    case!(
        password_flag_without_password_is_malformed,
        ["v5[MQTT-3.1.2-19]"]
    ),
    case!(
        user_name_and_password_are_taken_in_every_combination,
        ["v5[MQTT-3.1.2-17]", "v5[MQTT-3.1.2-19]"]
    ),
    case!(connect_payload_is_read_in_order, ["v5[MQTT-3.1.3-1]"]),
    case!(connect_without_client_id_is_malformed, ["v5[MQTT-3.1.3-3]"]),
    case!(client_id_must_be_utf8, ["v5[MQTT-3.1.3-4]"]),
    case!(
        client_ids_of_1_to_23_letters_and_digits_are_allowed,
        ["v5[MQTT-3.1.3-5]"]
    ),
    case!(longer_client_ids_with_other_characters_are_allowed, []),
    case!(
        empty_client_id_gets_a_unique_one,
        ["v5[MQTT-3.1.3-6]", "v5[MQTT-3.1.3-7]", "v5[MQTT-3.2.2-16]"]
    ),
    case!(assigned_client_id_names_the_session, ["v5[MQTT-3.1.3-7]"]),
    case!(refused_client_id_is_closed, ["v5[MQTT-3.1.3-8]"]),
    case!(user_name_must_be_utf8, ["v5[MQTT-3.1.3-12]"]),
    case!(connect_cut_anywhere_is_refused, ["v5[MQTT-3.1.4-1]"]),
    case!(
        connect_with_bytes_behind_it_is_malformed,
        ["v5[MQTT-3.1.4-1]"]
    ),
    case!(
        connect_with_unknown_properties_is_malformed,
        ["v5[MQTT-3.1.4-1]"]
    ),
    case!(connect_properties_that_are_refused, ["v5[MQTT-3.1.4-1]"]),
    case!(will_properties_that_are_refused, ["v5[MQTT-3.1.4-1]"]),
    case!(
        every_connect_property_is_accepted,
        ["v5[MQTT-3.1.4-1]", "v5[MQTT-3.1.4-5]"]
    ),
    case!(unauthorised_connect_is_closed, ["v5[MQTT-3.1.4-2]"]),
    case!(connect_is_acknowledged_with_success, ["v5[MQTT-3.1.4-5]"]),
    case!(
        data_behind_a_refused_connect_is_not_processed,
        ["v5[MQTT-3.1.4-6]"]
    ),
    case!(connect_arrives_byte_by_byte, ["v5[MQTT-4.2-1]"]),
];

/// The property block of a CONNECT without properties.
const NO_PROPERTIES: &[u8] = &[0];

fn expect_refused(broker: &Broker, connect: &[u8], reason: u8) {
    let mut raw = broker.raw();
    raw.send(connect);
    raw.expect_refused(reason);
}

fn first_packet_must_be_connect(lab: &Lab) {
    for form in [
        "20 03 00 00 00",                      // CONNACK
        "30 04 00 01 61 00",                   // PUBLISH
        "32 06 00 01 61 00 01 00",             // PUBLISH at QoS 1
        "40 02 00 01",                         // PUBACK
        "62 02 00 01",                         // PUBREL
        "82 07 00 01 00 00 01 61 00",          // SUBSCRIBE
        "a2 06 00 01 00 00 01 61",             // UNSUBSCRIBE
        "c0 00",                               // PINGREQ
        "e0 00",                               // DISCONNECT
        "f0 00",                               // AUTH
        "00 00",                               // no packet of MQTT
        "47 45 54 20 2f 20 48 54 54 50 0d 0a", // GET / HTTP
    ] {
        let mut raw = lab.broker().raw();
        raw.send_hex(form);
        raw.expect_closed();
    }
}

fn second_connect_is_a_protocol_error(lab: &Lab) {
    let id = lab.unique("connect-twice");
    let mut raw = lab.broker().v5(&id);
    raw.send(&ConnectSpec::v5(&id).to_bytes());
    raw.expect_disconnect(PROTOCOL_ERROR);
}

fn second_connect_takes_nothing_over(lab: &Lab) {
    let id = lab.unique("connect-bystander");
    let mut bystander = lab.broker().v5(&id);
    let mut raw = lab.broker().v5(&lab.unique("connect-twice"));
    raw.send(&ConnectSpec::v5(&id).to_bytes());
    raw.expect_disconnect(PROTOCOL_ERROR);
    assert!(bystander.ping().is_empty());
}

fn other_protocol_name_is_closed(lab: &Lab) {
    for name in ["MQTX", "mqtt", "MQTT5", "MQT", "", "MQIsdq", "HTTP"] {
        for level in [3, 4, 5] {
            let rest = wire::hex("02 00 00 00 00 01 61");
            let body = [wire::string(name), vec![level], rest].concat();
            let mut raw = lab.broker().raw();
            raw.send(&wire::packet(0x10, &body));
            raw.expect_closed();
        }
    }
}

fn other_protocol_version_is_refused(lab: &Lab) {
    for level in [0, 1, 2, 6, 7, 0x7F] {
        let body = [
            wire::string("MQTT"),
            vec![level],
            wire::hex("02 00 00 00 00 01 61"),
        ]
        .concat();
        let mut raw = lab.broker().raw();
        raw.send(&wire::packet(0x10, &body));
        raw.expect_hex("20 03 00 84 00");
        raw.expect_closed();
    }
}

fn other_version_of_mqisdp_is_refused(lab: &Lab) {
    for level in [2, 9] {
        let body = [
            wire::string("MQIsdp"),
            vec![level],
            wire::hex("02 00 00 00 01 61"),
        ]
        .concat();
        let mut raw = lab.broker().raw();
        raw.send(&wire::packet(0x10, &body));
        raw.expect_hex("20 02 00 01");
        raw.expect_closed();
    }
}

fn reserved_connect_flag_is_malformed(lab: &Lab) {
    let (id, user) = (wire::string("connect-flag"), wire::string("user"));
    expect_refused(
        lab.broker(),
        &wire::connect_of(0x01, NO_PROPERTIES, &[&id]),
        MALFORMED,
    );
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START | 0x01, NO_PROPERTIES, &[&id]),
        MALFORMED,
    );
    let flags = CLEAN_START | USER_NAME | 0x01;
    expect_refused(
        lab.broker(),
        &wire::connect_of(flags, NO_PROPERTIES, &[&id, &user]),
        MALFORMED,
    );
}

fn user_name_without_its_flag_is_malformed(lab: &Lab) {
    let (id, user) = (wire::string("connect-user"), wire::string("user"));
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START, NO_PROPERTIES, &[&id, &user]),
        MALFORMED,
    );
    // With the flag of the password alone, the user name is taken for it, and the password is left over.
    let password = wire::binary(b"secret");
    let connect = wire::connect_of(
        CLEAN_START | PASSWORD,
        NO_PROPERTIES,
        &[&id, &user, &password],
    );
    expect_refused(lab.broker(), &connect, MALFORMED);
}

fn user_name_flag_without_user_name_is_malformed(lab: &Lab) {
    let id = wire::string("connect-user");
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START | USER_NAME, NO_PROPERTIES, &[&id]),
        MALFORMED,
    );
    let cut = [0, 4, b'u', b's'];
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START | USER_NAME, NO_PROPERTIES, &[&id, &cut]),
        MALFORMED,
    );
}

fn password_without_its_flag_is_malformed(lab: &Lab) {
    let (id, user, password) = (
        wire::string("connect-pass"),
        wire::string("user"),
        wire::binary(b"secret"),
    );
    let connect = wire::connect_of(
        CLEAN_START | USER_NAME,
        NO_PROPERTIES,
        &[&id, &user, &password],
    );
    expect_refused(lab.broker(), &connect, MALFORMED);
}

fn password_flag_without_password_is_malformed(lab: &Lab) {
    let (id, user) = (wire::string("connect-pass"), wire::string("user"));
    let flags = CLEAN_START | USER_NAME | PASSWORD;
    expect_refused(
        lab.broker(),
        &wire::connect_of(flags, NO_PROPERTIES, &[&id, &user]),
        MALFORMED,
    );
    expect_refused(
        lab.broker(),
        &wire::connect_of(flags, NO_PROPERTIES, &[&id, &user, &[0, 9, 1]]),
        MALFORMED,
    );
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START | PASSWORD, NO_PROPERTIES, &[&id]),
        MALFORMED,
    );
}

fn user_name_and_password_are_taken_in_every_combination(lab: &Lab) {
    for user in [None, Some(""), Some("user")] {
        for password in [None, Some(b"".as_slice()), Some(b"secret\0\xFF".as_slice())] {
            let id = lab.unique("connect-user");
            let connect = ConnectSpec {
                user,
                password,
                ..ConnectSpec::v5(&id)
            };
            assert!(lab.broker().connect(&connect).ping().is_empty());
        }
    }
}

/// The Will Topic and Payload come out as sent only if each field was taken for what it is.
fn connect_payload_is_read_in_order(lab: &Lab) {
    let (id, topic) = (lab.unique("connect-order"), lab.unique("connect-order"));
    let mut watcher = lab.broker().v5(&lab.unique("connect-order-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 0)]), [0]);
    let will = WillSpec {
        props: vec![Prop::Str(0x03, "type")],
        ..WillSpec::new(&topic, b"gone")
    };
    let connect = ConnectSpec {
        will: Some(will),
        user: Some("user"),
        password: Some(b"secret"),
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 0)],
        ..ConnectSpec::v5(&id)
    };
    lab.broker().connect(&connect).drop_connection();
    let delivered = watcher.recv_publish();
    assert_eq!(
        (delivered.topic.as_str(), delivered.payload.as_slice()),
        (topic.as_str(), b"gone".as_slice())
    );
    assert_eq!(delivered.props, [OwnedProp::Str(0x03, "type".to_owned())]);
    // The Client Identifier behind the other fields is none.
    let (id, user) = (wire::binary(b"\xFF"), wire::string("user"));
    let flags = CLEAN_START | USER_NAME;
    expect_refused(
        lab.broker(),
        &wire::connect_of(flags, NO_PROPERTIES, &[&id, &user]),
        MALFORMED,
    );
}

fn connect_without_client_id_is_malformed(lab: &Lab) {
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START, NO_PROPERTIES, &[]),
        MALFORMED,
    );
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START, NO_PROPERTIES, &[&[0]]),
        MALFORMED,
    );
    // The user name is taken for the Client Identifier, and is missing then.
    let user = wire::string("user");
    expect_refused(
        lab.broker(),
        &wire::connect_of(CLEAN_START | USER_NAME, NO_PROPERTIES, &[&user]),
        MALFORMED,
    );
}

fn client_id_must_be_utf8(lab: &Lab) {
    for bytes in [b"\xFF".as_slice(), b"id\xC3", b"\xED\xA0\x80", b"id\0"] {
        let id = wire::binary(bytes);
        expect_refused(
            lab.broker(),
            &wire::connect_of(CLEAN_START, NO_PROPERTIES, &[&id]),
            MALFORMED,
        );
    }
}

fn client_ids_of_1_to_23_letters_and_digits_are_allowed(lab: &Lab) {
    let broker = lab.broker();
    for id in [
        "0123456789abcdefghijklm",
        "nopqrstuvwxyzABCDEFGHIJ",
        "KLMNOPQRSTUVWXYZ0000000",
    ] {
        assert_eq!(id.len(), 23);
        for len in [23, 22, 12, 2, 1] {
            let mut raw = broker.v5(id.get(..len).unwrap_or(id));
            assert_eq!(raw.connack.prop(ASSIGNED_CLIENT_IDENTIFIER), None);
            assert!(raw.ping().is_empty());
            raw.disconnect();
        }
    }
}

fn longer_client_ids_with_other_characters_are_allowed(lab: &Lab) {
    for stem in ["x".repeat(60), "ä/ö $&".to_owned()] {
        let id = lab.unique(&stem);
        assert!(lab.broker().v5(&id).ping().is_empty());
    }
}

fn assigned(raw: &Raw) -> String {
    match raw.connack.prop(ASSIGNED_CLIENT_IDENTIFIER) {
        Some(property) => property.text().to_owned(),
        None => panic!("no Assigned Client Identifier in {:?}", raw.connack),
    }
}

fn empty_client_id_gets_a_unique_one(lab: &Lab) {
    let connections: Vec<Raw> = (0..20).map(|_| lab.broker().v5("")).collect();
    let ids: BTreeSet<String> = connections.iter().map(assigned).collect();
    assert_eq!(ids.len(), connections.len(), "not unique: {ids:?}");
    assert!(
        ids.iter().all(|id| id.starts_with("auto-") && id.len() > 5),
        "{ids:?}"
    );
    for mut connection in connections {
        assert!(connection.ping().is_empty());
    }
    // Without Clean Start it is no other: there can be no Session yet.
    let raw = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..ConnectSpec::v5("")
    });
    assert!(!raw.session_present());
    assert!(!ids.contains(&assigned(&raw)));
}

fn assigned_client_id_names_the_session(lab: &Lab) {
    let topic = lab.unique("connect-assigned");
    let props = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)];
    let mut raw = lab.broker().connect(&ConnectSpec {
        props: props.clone(),
        ..ConnectSpec::v5("")
    });
    let id = assigned(&raw);
    assert_eq!(raw.subscribe(&[(&topic, 0)]), [0]);
    raw.disconnect();
    let mut raw = lab.broker().connect(&ConnectSpec {
        clean: false,
        props,
        ..ConnectSpec::v5(&id)
    });
    assert!(raw.session_present(), "the Session of {id} was not found");
    assert_eq!(raw.connack.prop(ASSIGNED_CLIENT_IDENTIFIER), None);
    raw.publish(&PublishSpec::new(&topic, b"x", 0));
    assert_eq!(raw.recv_publish().topic, topic);
}

fn refused_client_id_is_closed(lab: &Lab) {
    let broker = lab.broker_with("allow_zero_length_clientid false");
    expect_refused(&broker, &ConnectSpec::v5("").to_bytes(), 0x85);
    assert!(broker.v5("some").ping().is_empty());
}

fn user_name_must_be_utf8(lab: &Lab) {
    let id = wire::string("connect-user");
    for bytes in [b"\xFF".as_slice(), b"u\xC3", b"\xED\xBF\xBF", b"u\0"] {
        let user = wire::binary(bytes);
        let connect = wire::connect_of(CLEAN_START | USER_NAME, NO_PROPERTIES, &[&id, &user]);
        expect_refused(lab.broker(), &connect, MALFORMED);
    }
}

/// A CONNECT that has everything; its fixed header is two bytes.
fn full_connect(client_id: &str) -> Vec<u8> {
    let will = WillSpec {
        props: vec![Prop::U32(0x18, 5)],
        ..WillSpec::new("t", b"gone")
    };
    let props = vec![
        Prop::U32(SESSION_EXPIRY_INTERVAL, 0),
        Prop::Pair(0x26, "n", "v"),
    ];
    let (user, password) = (Some("user"), Some(b"secret".as_slice()));
    ConnectSpec {
        will: Some(will),
        user,
        password,
        props,
        ..ConnectSpec::v5(client_id)
    }
    .to_bytes()
}

fn connect_cut_anywhere_is_refused(lab: &Lab) {
    /// Protocol Name and Protocol Version: behind them it is known how to answer.
    const VERSION_KNOWN: usize = 7;
    let whole = full_connect("connect-cut");
    let body = whole.get(2..).unwrap_or_default();
    for cut in 0..body.len() {
        let connect = wire::packet(0x10, body.get(..cut).unwrap_or_default());
        if cut >= VERSION_KNOWN {
            expect_refused(lab.broker(), &connect, MALFORMED);
        } else {
            let mut raw = lab.broker().raw();
            raw.send(&connect);
            raw.expect_closed();
        }
    }
}

fn connect_with_bytes_behind_it_is_malformed(lab: &Lab) {
    let whole = full_connect("connect-behind");
    let body = whole.get(2..).unwrap_or_default();
    for behind in [b"\0".as_slice(), b"\0\x04more"] {
        expect_refused(
            lab.broker(),
            &wire::packet(0x10, &[body, behind].concat()),
            MALFORMED,
        );
    }
}

fn connect_with_unknown_properties_is_malformed(lab: &Lab) {
    let id = wire::string("connect-property");
    for block in [
        "01 00",             // identifier 0
        "02 7f 00",          // an identifier that the standard does not have
        "01 11",             // without its value
        "04 11 00 00 00",    // cut within its value
        "05 11 00 00 00",    // the block reaches into the Client Identifier
        "7f 21 00 05",       // the block reaches past the packet
        "05 26 00 01 6e 00", // a pair cut within its value
    ] {
        expect_refused(
            lab.broker(),
            &wire::connect_of(CLEAN_START, &wire::hex(block), &[&id]),
            MALFORMED,
        );
    }
}

fn connect_properties_that_are_refused(lab: &Lab) {
    let id = lab.unique("connect-property");
    let wrong: [&[Prop<'_>]; 12] = [
        &[Prop::U16(0x21, 0)],                         // Receive Maximum 0
        &[Prop::U32(0x27, 0)],                         // Maximum Packet Size 0
        &[Prop::Byte(0x17, 2)],                        // Request Problem Information 2
        &[Prop::Byte(0x19, 2)],                        // Request Response Information 2
        &[Prop::Bin(0x16, b"data")],                   // Authentication Data without a method
        &[Prop::U32(0x11, 1), Prop::U32(0x11, 1)],     // Session Expiry Interval twice
        &[Prop::U16(0x21, 5), Prop::U16(0x21, 5)],     // Receive Maximum twice
        &[Prop::U32(0x27, 500), Prop::U32(0x27, 500)], // Maximum Packet Size twice
        &[Prop::U16(0x22, 5), Prop::U16(0x22, 5)],     // Topic Alias Maximum twice
        &[Prop::Byte(0x17, 1), Prop::Byte(0x17, 1)],   // Request Problem Information twice
        &[Prop::Byte(0x19, 1), Prop::Byte(0x19, 1)],   // Request Response Information twice
        &[Prop::Str(0x15, "m"), Prop::Str(0x15, "m")], // Authentication Method twice
    ];
    // §2.2.2.2: a property of another packet is malformed.
    let foreign: [&[Prop<'_>]; 4] = [
        &[Prop::U16(0x23, 1)],    // Topic Alias
        &[Prop::U32(0x18, 1)],    // Will Delay Interval outside the Will
        &[Prop::Varint(0x0B, 1)], // Subscription Identifier
        &[Prop::U16(0x13, 60)],   // Server Keep Alive
    ];
    let wrong = wrong.iter().map(|props| (*props, PROTOCOL_ERROR));
    for (props, reason) in wrong.chain(foreign.iter().map(|props| (*props, MALFORMED))) {
        let connect = ConnectSpec {
            props: props.to_vec(),
            ..ConnectSpec::v5(&id)
        };
        expect_refused(lab.broker(), &connect.to_bytes(), reason);
    }
}

fn will_properties_that_are_refused(lab: &Lab) {
    let id = lab.unique("connect-will-property");
    let wrong: [(&[Prop<'_>], u8); 8] = [
        // Payload Format Indicator 2, and twice
        (&[Prop::Byte(0x01, 2)], PROTOCOL_ERROR),
        (&[Prop::Byte(0x01, 1), Prop::Byte(0x01, 1)], PROTOCOL_ERROR),
        // Will Delay Interval, Message Expiry Interval, Content Type twice
        (&[Prop::U32(0x18, 1), Prop::U32(0x18, 1)], PROTOCOL_ERROR),
        (&[Prop::U32(0x02, 1), Prop::U32(0x02, 1)], PROTOCOL_ERROR),
        (
            &[Prop::Str(0x03, "a"), Prop::Str(0x03, "a")],
            PROTOCOL_ERROR,
        ),
        // Response Topic with a wildcard
        (&[Prop::Str(0x08, "a/+")], PROTOCOL_ERROR),
        // Session Expiry Interval and Topic Alias stand in other packets
        (&[Prop::U32(0x11, 1)], MALFORMED),
        (&[Prop::U16(0x23, 1)], MALFORMED),
    ];
    for (props, reason) in wrong {
        let will = WillSpec {
            props: props.to_vec(),
            ..WillSpec::new("t", b"gone")
        };
        let connect = ConnectSpec {
            will: Some(will),
            ..ConnectSpec::v5(&id)
        };
        expect_refused(lab.broker(), &connect.to_bytes(), reason);
    }
}

fn every_connect_property_is_accepted(lab: &Lab) {
    let id = lab.unique("connect-all");
    let props = vec![
        Prop::U32(0x11, 0),
        Prop::U16(0x21, 1),
        Prop::U32(0x27, 1000),
        Prop::U16(0x22, 65_535),
        Prop::Byte(0x19, 1),
        Prop::Byte(0x17, 0),
        Prop::Pair(0x26, "n", "v"),
        Prop::Pair(0x26, "n", "v"),
    ];
    let mut raw = lab.broker().connect(&ConnectSpec {
        props,
        keep_alive: 65_535,
        ..ConnectSpec::v5(&id)
    });
    assert!(raw.ping().is_empty());
}

fn unauthorised_connect_is_closed(lab: &Lab) {
    let broker = lab.broker_with("allow_anonymous false");
    expect_refused(&broker, &ConnectSpec::v5("nobody").to_bytes(), 0x87);
}

fn connect_is_acknowledged_with_success(lab: &Lab) {
    let mut raw = lab.broker().raw();
    raw.send(&ConnectSpec::v5(&lab.unique("connect-ok")).to_bytes());
    let connack = raw.recv();
    assert_eq!(
        (connack.first, connack.body.get(..2)),
        (0x20, Some([0, 0].as_slice())),
        "{connack:?}"
    );
    assert!(raw.ping().is_empty());
}

fn data_behind_a_refused_connect_is_not_processed(lab: &Lab) {
    let topic = lab.unique("connect-behind");
    let mut watcher = lab.broker().v5(&lab.unique("connect-behind-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 1)]), [1]);
    let id = lab.unique("connect-behind");
    let props = vec![Prop::Str(AUTHENTICATION_METHOD, "NO-SUCH-METHOD")];
    let refused = ConnectSpec {
        props,
        ..ConnectSpec::v5(&id)
    }
    .to_bytes();
    let behind = PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"behind", 1)
    }
    .to_bytes(5);
    let subscribe = wire::subscribe(5, 2, &[], &[(&topic, 0)]);
    let mut raw = lab.broker().raw();
    raw.send(&[refused, behind, subscribe, wire::pingreq()].concat());
    raw.expect_refused(0x8C);
    // The same Client Identifier, so that the marker comes from where the message would have come from.
    lab.broker()
        .v5(&id)
        .publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(watcher.recv_publish().payload, b"marker");
}

fn connect_arrives_byte_by_byte(lab: &Lab) {
    let mut raw = lab.broker().raw();
    for byte in full_connect(&lab.unique("connect-bytes")) {
        raw.send(&[byte]);
    }
    assert_eq!(raw.recv().first, 0x20);
    for byte in wire::pingreq() {
        raw.send(&[byte]);
    }
    raw.expect_hex("d0 00");
}
