//! Shared Subscriptions: section 4.8 of MQTT 5.0.
//!
//! The standard leaves the choice of a member to the Server. This broker takes turns among the members that are
//! connected, and the cases use that: of as many messages as there are members each gets one. A case that names no
//! statement proves what this broker promises beyond them.

use super::session::durable;
use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, Prop, PublishSpec, Raw, WillSpec, wire};

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        shared_filter_has_a_share_name_and_a_filter,
        ["v5[MQTT-4.8.2-1]", "v5[MQTT-4.8.2-2]"]
    ),
    case!(
        shared_filter_that_is_not_one_is_refused,
        ["v5[MQTT-4.8.2-1]", "v5[MQTT-4.8.2-2]"]
    ),
    case!(shared_message_goes_to_one_member_in_turn, []),
    case!(
        shared_names_are_separate_subscriptions,
        ["v5[MQTT-4.5.0-1]", "v5[MQTT-4.8.2-2]"]
    ),
    case!(
        shared_delivery_respects_the_granted_qos,
        ["v5[MQTT-4.8.2-3]"]
    ),
    case!(
        shared_subscription_is_replaced_by_subscribing_again,
        ["v5[MQTT-4.8.2-3]"]
    ),
    case!(
        shared_member_that_unsubscribed_gets_nothing,
        ["v5[MQTT-3.10.4-2]"]
    ),
    case!(
        shared_and_plain_subscriptions_of_one_client_are_apart,
        ["v5[MQTT-4.5.0-1]", "v5[MQTT-3.3.4-5]"]
    ),
    case!(shared_subscriptions_get_no_retained_messages, []),
    case!(shared_members_that_are_away_are_avoided, []),
    case!(shared_messages_wait_while_all_members_are_away, []),
    case!(shared_message_at_qos1_of_a_lost_member_goes_to_another, []),
    case!(
        shared_message_at_qos2_waits_for_its_client,
        ["v5[MQTT-4.8.2-4]"]
    ),
    case!(
        shared_message_at_qos2_waits_for_pubcomp_of_its_client,
        ["v5[MQTT-4.8.2-4]"]
    ),
    case!(
        shared_message_at_qos2_ends_with_its_session,
        ["v5[MQTT-4.8.2-5]"]
    ),
    case!(
        shared_message_that_is_refused_goes_to_nobody,
        ["v5[MQTT-4.8.2-6]"]
    ),
];

/// Members of one Shared Subscription, all connected, and a publisher to it.
struct Group {
    publisher: Raw,
    members: Vec<Raw>,
    topic: String,
}

impl Group {
    /// One member for each of these QoS.
    #[track_caller]
    fn new(lab: &Lab, granted: &[u8]) -> Group {
        let topic = lab.unique("shared");
        let members = granted
            .iter()
            .map(|qos| member(lab, "group", &topic, *qos))
            .collect();
        Group {
            publisher: lab.broker().v5(&lab.unique("p")),
            members,
            topic,
        }
    }

    #[track_caller]
    fn publish(&mut self, payload: &[u8], qos: u8) {
        self.publisher
            .publish(&PublishSpec::new(&self.topic, payload, qos));
    }

    /// What each member has got so far: reads up to an end mark, of which every member gets one by its turn.
    #[track_caller]
    fn received(&mut self, qos: u8) -> Vec<Vec<Delivered>> {
        for _ in 0..self.members.len() {
            self.publish(b"end", qos);
        }
        self.members.iter_mut().map(received_until_end).collect()
    }
}

/// A connected member of `$share/NAME/TOPIC`.
#[track_caller]
fn member(lab: &Lab, name: &str, topic: &str, qos: u8) -> Raw {
    let mut client = lab.broker().v5(&lab.unique("member"));
    assert_eq!(
        client.subscribe(&[(&*format!("$share/{name}/{topic}"), qos)]),
        [qos]
    );
    client
}

#[track_caller]
fn received_until_end(member: &mut Raw) -> Vec<Delivered> {
    let mut received = Vec::new();
    loop {
        let delivered = member.recv_publish();
        member.ack(&delivered);
        if delivered.payload == b"end" {
            assert!(
                member.ping().is_empty(),
                "a message was sent to more than one member"
            );
            return received;
        }
        received.push(delivered);
    }
}

/// Two members of one Shared Subscription at QoS 2. The first has a Will, by which the broker tells that it is lost.
struct Duo {
    publisher: Raw,
    first: Raw,
    second: Raw,
    watcher: Raw,
    topic: String,
}

impl Duo {
    #[track_caller]
    fn new(lab: &Lab, first: ConnectSpec<'_>) -> Duo {
        let (topic, will_topic) = (lab.unique("shared"), lab.unique("will"));
        let filter = format!("$share/duo/{topic}");
        let mut watcher = lab.broker().v5(&lab.unique("watcher"));
        assert_eq!(watcher.subscribe(&[(will_topic.as_str(), 1)]), [1]);
        let will = WillSpec {
            qos: 1,
            ..WillSpec::new(&will_topic, b"lost")
        };
        let mut first = lab.broker().connect(&ConnectSpec {
            will: Some(will),
            ..first
        });
        let mut second = lab.broker().v5(&lab.unique("second"));
        assert_eq!(first.subscribe(&[(filter.as_str(), 2)]), [2]);
        assert_eq!(second.subscribe(&[(filter.as_str(), 2)]), [2]);
        Duo {
            publisher: lab.broker().v5(&lab.unique("p")),
            first,
            second,
            watcher,
            topic,
        }
    }

    /// Publishes one message for each member. The first leaves its own open, the second acknowledges.
    #[track_caller]
    fn leave_open(&mut self, qos: u8) -> Delivered {
        for payload in [b"one", b"two"] {
            self.publisher
                .publish(&PublishSpec::new(&self.topic, payload, qos));
        }
        let open = self.first.recv_publish();
        let done = self.second.recv_publish();
        assert_eq!((open.qos, done.qos), (qos, qos));
        assert_ne!(open.payload, done.payload);
        self.second.ack(&done);
        open
    }

    /// The first member's connection is lost, and the broker knows it.
    #[track_caller]
    fn lose_first(self) -> Rest {
        let Duo {
            publisher,
            mut first,
            second,
            mut watcher,
            topic,
        } = self;
        assert!(first.ping().is_empty());
        first.drop_connection();
        assert_eq!(watcher.recv_publish().payload, b"lost");
        Rest {
            publisher,
            second,
            topic,
        }
    }
}

/// What is left of a [`Duo`] when the first member is lost.
struct Rest {
    publisher: Raw,
    second: Raw,
    topic: String,
}

impl Rest {
    /// New messages, and they alone, come to the second member.
    #[track_caller]
    fn expect_only_new(&mut self, qos: u8) {
        for payload in [b"three", b"four!"] {
            self.publisher
                .publish(&PublishSpec::new(&self.topic, payload, qos));
            let new = self.second.recv_publish();
            assert_eq!(
                new.payload, payload,
                "the message of the lost member came to another"
            );
            self.second.ack(&new);
        }
        assert!(self.second.ping().is_empty());
    }
}

fn shared_filter_has_a_share_name_and_a_filter(lab: &Lab) {
    let base = lab.unique("base");
    let name = format!("{base}/a");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let matching = [
        format!("$share/g/{name}"),
        format!("$share/g/{base}/#"),
        format!("$share/g/{base}/+"),
        format!("$share/Größe 1/{name}"),
        format!("$share/$share/{name}"),
    ];
    for filter in &matching {
        let mut client = lab.broker().v5(&lab.unique("c"));
        assert_eq!(client.subscribe(&[(filter.as_str(), 1)]), [1], "{filter:?}");
        publisher.publish(&PublishSpec::new(&name, b"x", 1));
        assert_eq!(client.recv_publish().topic, name, "{filter:?}");
        client.disconnect();
    }
    // An empty level belongs to the Topic Filter; other spellings are no Shared Subscriptions but plain filters.
    let mut client = lab.broker().v5(&lab.unique("c"));
    assert_eq!(
        client.subscribe(&[
            (&*format!("$share/g//{base}"), 1),
            (&*format!("$SHARE/g/{name}"), 1)
        ]),
        [1, 1]
    );
    publisher.publish(&PublishSpec::new(&name, b"x", 1));
    for topic in [format!("/{base}"), format!("$SHARE/g/{name}")] {
        publisher.publish(&PublishSpec::new(&topic, b"x", 1));
        let delivered = client.recv_publish();
        assert_eq!(delivered.topic, topic);
        client.ack(&delivered);
    }
}

fn shared_filter_that_is_not_one_is_refused(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filters = [
        "$share/",
        "$share//",
        "$share//x",
        "$share/g",
        "$share/g/",
        "$share/+/x",
        "$share/#/x",
        "$share/#",
        "$share/+",
        "$share/g+/x",
        "$share/g#/x",
        "$share/+g/x",
        "$share/g/x#",
        "$share/g/x/#/y",
        "$share/g/+x",
    ];
    for filter in filters {
        for qos in 0..=2 {
            assert_eq!(client.subscribe(&[(filter, qos)]), [0x8F], "{filter:?}");
        }
    }
    assert!(client.ping().is_empty());
}

fn shared_message_goes_to_one_member_in_turn(lab: &Lab) {
    for members in [1, 2, 3, 5] {
        for qos in 0..=2 {
            let mut group = Group::new(lab, &vec![2; members]);
            let payloads: Vec<Vec<u8>> = (0..members * 4)
                .map(|number| number.to_string().into_bytes())
                .collect();
            for payload in &payloads {
                group.publish(payload, qos);
            }
            let received = group.received(qos);
            let shares: Vec<usize> = received.iter().map(Vec::len).collect();
            assert_eq!(shares, vec![4; members], "QoS {qos}");
            let mut all: Vec<Vec<u8>> = received
                .into_iter()
                .flatten()
                .map(|delivered| delivered.payload)
                .collect();
            let mut expected = payloads;
            all.sort();
            expected.sort();
            assert_eq!(all, expected, "QoS {qos}");
        }
    }
}

fn shared_names_are_separate_subscriptions(lab: &Lab) {
    let mut group = Group::new(lab, &[1, 1]);
    let mut other = member(lab, "other", &group.topic, 1);
    let mut plain = lab.broker().v5(&lab.unique("plain"));
    assert_eq!(plain.subscribe(&[(group.topic.as_str(), 1)]), [1]);
    for number in 0..6_u8 {
        group.publish(&[number], 1);
    }
    let shares: Vec<usize> = group.received(1).iter().map(Vec::len).collect();
    assert_eq!(shares, [3, 3]);
    for client in [&mut other, &mut plain] {
        for number in 0..6_u8 {
            let delivered = client.recv_publish();
            assert_eq!(delivered.payload, [number]);
            client.ack(&delivered);
        }
    }
}

fn shared_delivery_respects_the_granted_qos(lab: &Lab) {
    for published in 0..=2 {
        let granted = [0, 1, 2];
        let mut group = Group::new(lab, &granted);
        for number in 0..9_u8 {
            group.publish(&[number], published);
        }
        for (received, granted) in group.received(published).iter().zip(granted) {
            let qos: Vec<u8> = received.iter().map(|delivered| delivered.qos).collect();
            assert_eq!(
                qos,
                [granted.min(published); 3],
                "published {published}, granted {granted}"
            );
        }
    }
}

fn shared_subscription_is_replaced_by_subscribing_again(lab: &Lab) {
    let mut group = Group::new(lab, &[2, 2]);
    let filter = format!("$share/group/{}", group.topic);
    assert_eq!(group.members[0].subscribe(&[(filter.as_str(), 1)]), [1]);
    assert_eq!(group.members[0].subscribe(&[(filter.as_str(), 0)]), [0]);
    for number in 0..8_u8 {
        group.publish(&[number], 2);
    }
    let received = group.received(2);
    for (received, granted) in received.iter().zip([0, 2]) {
        let qos: Vec<u8> = received.iter().map(|delivered| delivered.qos).collect();
        assert_eq!(qos, [granted; 4], "one turn each, at the new QoS");
    }
    assert_eq!(group.members[0].unsubscribe(&[filter.as_str()]), [0x00]);
    assert_eq!(group.members[0].unsubscribe(&[filter.as_str()]), [0x11]);
}

fn shared_member_that_unsubscribed_gets_nothing(lab: &Lab) {
    let mut group = Group::new(lab, &[1, 1]);
    let filter = format!("$share/group/{}", group.topic);
    assert_eq!(group.members[0].unsubscribe(&[filter.as_str()]), [0x00]);
    for number in 0..6_u8 {
        group.publish(&[number], 1);
        let delivered = group.members[1].recv_publish();
        assert_eq!(delivered.payload, [number]);
        group.members[1].ack(&delivered);
    }
    assert!(group.members[0].ping().is_empty());
    // With the last member the Subscription is gone: who comes later gets what comes later.
    assert_eq!(group.members[1].unsubscribe(&[filter.as_str()]), [0x00]);
    group.publish(b"nobody", 1);
    assert_eq!(group.members[0].subscribe(&[(filter.as_str(), 1)]), [1]);
    group.publish(b"later", 1);
    assert_eq!(group.members[0].recv_publish().payload, b"later");
    assert!(group.members[1].ping().is_empty());
}

fn shared_and_plain_subscriptions_of_one_client_are_apart(lab: &Lab) {
    let topic = lab.unique("both");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    for (id, filter) in [(11, format!("$share/g/{topic}")), (12, topic.clone())] {
        let suback = client.subscribe_with(
            &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, id)],
            &[(filter.as_str(), 1)],
        );
        assert_eq!(suback.codes(5), [1]);
    }
    for _ in 0..3 {
        publisher.publish(&PublishSpec::new(&topic, b"x", 1));
        let mut ids = Vec::new();
        for _ in 0..2 {
            let delivered = client.recv_publish();
            client.ack(&delivered);
            ids.extend(
                delivered
                    .props(SUBSCRIPTION_IDENTIFIER)
                    .iter()
                    .map(|id| id.number()),
            );
        }
        ids.sort_unstable();
        assert_eq!(
            ids,
            [11, 12],
            "a copy for each, with its own Subscription Identifier"
        );
    }
    assert!(client.ping().is_empty());
}

fn shared_subscriptions_get_no_retained_messages(lab: &Lab) {
    let topic = lab.unique("retained");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"kept", 1)
    });
    // Retain Handling 0, 1 and 2.
    for options in [0x01, 0x11, 0x21] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        let filter = format!("$share/g/{topic}");
        assert_eq!(client.subscribe(&[(filter.as_str(), options)]), [1]);
        assert!(client.ping().is_empty());
        publisher.publish(&PublishSpec::new(&topic, b"live", 1));
        let delivered = client.recv_publish();
        assert_eq!(
            (delivered.payload.as_slice(), delivered.retain),
            (b"live".as_slice(), false)
        );
        client.ack(&delivered);
        assert_eq!(client.unsubscribe(&[filter.as_str()]), [0x00]);
    }
}

fn shared_members_that_are_away_are_avoided(lab: &Lab) {
    let id = lab.unique("away");
    let mut group = Group::new(lab, &[1]);
    let filter = format!("$share/group/{}", group.topic);
    let mut away = lab.broker().connect(&durable(&id));
    assert_eq!(away.subscribe(&[(filter.as_str(), 1)]), [1]);
    away.disconnect();
    for number in 0..6_u8 {
        group.publish(&[number], 1);
        let delivered = group.members[0].recv_publish();
        assert_eq!(delivered.payload, [number]);
        group.members[0].ack(&delivered);
    }
    // Back, it has missed nothing, and takes its turns.
    let mut back = lab.broker().connect(&durable(&id));
    assert!(back.session_present());
    assert!(back.ping().is_empty());
    group.members.push(back);
    for number in 0..6_u8 {
        group.publish(&[number], 1);
    }
    let shares: Vec<usize> = group.received(1).iter().map(Vec::len).collect();
    assert_eq!(shares, [3, 3]);
}

fn shared_messages_wait_while_all_members_are_away(lab: &Lab) {
    let (topic, ids) = (lab.unique("away"), [lab.unique("c"), lab.unique("c")]);
    let filter = format!("$share/g/{topic}");
    for id in &ids {
        let mut client = lab.broker().connect(&durable(id));
        assert_eq!(client.subscribe(&[(filter.as_str(), 2)]), [2]);
        client.disconnect();
    }
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for (payload, qos) in [(b"one", 1), (b"two", 2)] {
        publisher.publish(&PublishSpec::new(&topic, payload, qos));
    }
    let mut first = lab.broker().connect(&durable(&ids[0]));
    let mut payloads = Vec::new();
    for _ in 0..2 {
        let delivered = first.recv_publish();
        first.ack(&delivered);
        payloads.push(delivered.payload);
    }
    payloads.sort();
    assert_eq!(payloads, [b"one", b"two"]);
    let mut second = lab.broker().connect(&durable(&ids[1]));
    assert!(second.ping().is_empty());
    assert!(first.ping().is_empty());
}

fn shared_message_at_qos1_of_a_lost_member_goes_to_another(lab: &Lab) {
    let ids = [lab.unique("ends"), lab.unique("stays")];
    for (id, first) in [
        (&ids[0], ConnectSpec::v5(&ids[0])),
        (&ids[1], durable(&ids[1])),
    ] {
        let mut duo = Duo::new(lab, first);
        let open = duo.leave_open(1);
        let mut rest = duo.lose_first();
        let moved = rest.second.recv_publish();
        assert_eq!((&moved.payload, &moved.topic), (&open.payload, &open.topic));
        rest.second.ack(&moved);
        rest.expect_only_new(1);
        // It is no longer the first one's.
        let mut back = lab.broker().connect(&durable(id));
        assert!(back.ping().is_empty());
    }
}

fn shared_message_at_qos2_waits_for_its_client(lab: &Lab) {
    let id = lab.unique("first");
    let mut duo = Duo::new(lab, durable(&id));
    let open = duo.leave_open(2);
    let mut rest = duo.lose_first();
    rest.expect_only_new(2);
    let mut back = lab.broker().connect(&durable(&id));
    assert!(back.session_present());
    assert_eq!(
        back.recv_publish(),
        Delivered {
            dup: true,
            ..open.clone()
        }
    );
    back.ack(&open);
    assert!(back.ping().is_empty());
    assert!(rest.second.ping().is_empty());
}

fn shared_message_at_qos2_waits_for_pubcomp_of_its_client(lab: &Lab) {
    let id = lab.unique("first");
    let mut duo = Duo::new(lab, durable(&id));
    let open = duo.leave_open(2);
    duo.first.send(&wire::ack(0x50, 5, open.packet_id, None));
    let pubrel = duo.first.recv();
    assert_eq!((pubrel.first, pubrel.packet_id()), (0x62, open.packet_id));
    let mut rest = duo.lose_first();
    rest.expect_only_new(2);
    let mut back = lab.broker().connect(&durable(&id));
    let pubrel = back.recv();
    assert_eq!((pubrel.first, pubrel.packet_id()), (0x62, open.packet_id));
    back.send(&wire::ack(0x70, 5, open.packet_id, None));
    assert!(back.ping().is_empty());
    assert!(rest.second.ping().is_empty());
}

fn shared_message_at_qos2_ends_with_its_session(lab: &Lab) {
    // The Session ends with its connection.
    let id = lab.unique("first");
    let mut duo = Duo::new(lab, ConnectSpec::v5(&id));
    duo.leave_open(2);
    let mut rest = duo.lose_first();
    rest.expect_only_new(2);
    // The Session is there for a while, and a Clean Start ends it.
    let id = lab.unique("first");
    let mut duo = Duo::new(lab, durable(&id));
    duo.leave_open(2);
    let mut rest = duo.lose_first();
    let mut anew = lab.broker().v5(&id);
    assert!(!anew.session_present());
    rest.expect_only_new(2);
    assert!(anew.ping().is_empty());
}

fn shared_message_that_is_refused_goes_to_nobody(lab: &Lab) {
    let id = lab.unique("first");
    let mut duo = Duo::new(lab, durable(&id));
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        for reason in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
            let refused = duo.leave_open(qos);
            duo.first
                .send(&wire::ack(first, 5, refused.packet_id, Some(reason)));
            assert!(
                duo.first.ping().is_empty(),
                "0x{reason:02x} at QoS {qos} got an answer"
            );
            assert!(
                duo.second.ping().is_empty(),
                "a message refused with 0x{reason:02x} came to another"
            );
        }
    }
    // Nor when the one that refused is lost, or comes back.
    let mut rest = duo.lose_first();
    rest.expect_only_new(1);
    rest.expect_only_new(2);
    let mut back = lab.broker().connect(&durable(&id));
    assert!(back.session_present());
    assert!(back.ping().is_empty());
}
