//! What subscribers get of what publishers send, on one worker.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bench::{AS_PUBLISHED, At, Cluster, Hello, IF_NEW, Message, NO_LOCAL, NO_RETAINED, NOTHING};
use dunlin_engine::limits::QueueFull;
use dunlin_engine::{Access, Authorizer, DropReason, Event, Principal};
use dunlin_packet::Property;

/// One worker, a publisher, and a subscriber that is asked for everything.
fn pair(granted: u8) -> (Cluster, At, At) {
    let mut c = Cluster::new(1);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    c.subscribe(subscriber, "#", granted);
    c.forget();
    (c, publisher, subscriber)
}

#[test]
fn a_message_comes_at_the_lower_of_both_qos() {
    for published in 0..=2 {
        for granted in 0..=2 {
            let mut c = Cluster::new(1);
            let publisher = c.v5("publisher");
            let subscribers = [c.v5("five"), c.v311("four"), c.v31("three")];
            for subscriber in subscribers {
                c.subscribe(subscriber, "t", granted);
            }
            c.publish(publisher, "t", "hi", published);
            let expected = format!("t=hi q{}", published.min(granted));
            for subscriber in subscribers {
                assert_eq!(c.received(subscriber), [expected.as_str()]);
            }
        }
    }
}

#[test]
fn a_message_comes_at_the_granted_qos_where_upgrades_are_asked_for() {
    let mut c = Cluster::new(1).limits(|limits| limits.upgrade_outgoing_qos = true);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    c.subscribe(subscriber, "t", 2);
    c.publish(publisher, "t", "hi", 0);
    assert_eq!(c.received(subscriber), ["t=hi q2"]);
}

#[test]
fn qos_1_is_acknowledged_on_either_side() {
    let (mut c, publisher, subscriber) = pair(1);
    c.silence(subscriber);
    c.publish(publisher, "t", "hi", 1);
    assert_eq!(c.wire(publisher), ["puback 1"]);
    assert_eq!(c.wire(subscriber), ["t=hi q1"]);
    c.puback(subscriber, 1);
    assert_eq!(c.wire(subscriber), NOTHING);
}

#[test]
fn qos_2_takes_four_packets_on_either_side() {
    let (mut c, publisher, subscriber) = pair(2);
    c.silence(publisher);
    c.silence(subscriber);
    c.publish(publisher, "t", "hi", 2);
    assert_eq!(c.wire(publisher), ["pubrec 1"]);
    assert_eq!(c.wire(subscriber), ["t=hi q2"]);
    c.pubrec(subscriber, 1);
    assert_eq!(c.wire(subscriber), ["pubrel 1"]);
    c.pubcomp(subscriber, 1);
    c.pubrel(publisher, 1);
    assert_eq!(c.wire(publisher), ["pubcomp 1"]);
    assert_eq!(c.wire(subscriber), NOTHING);
}

#[test]
fn acknowledgements_of_nothing_are_told_so() {
    let (mut c, publisher, subscriber) = pair(2);
    c.silence(subscriber);
    c.pubrel(publisher, 9);
    assert_eq!(c.wire(publisher), ["pubcomp 9 0x92"]);
    c.pubrec(subscriber, 9);
    assert_eq!(c.wire(subscriber), ["pubrel 9 0x92"]);
}

#[test]
fn a_message_for_nobody_is_told_to_the_publisher() {
    let mut c = Cluster::new(1);
    let (five, four) = (c.v5("five"), c.v311("four"));
    c.forget();
    for publisher in [five, four] {
        c.silence(publisher);
        c.publish(publisher, "t", "hi", 1);
        c.publish(publisher, "t", "hi", 2);
    }
    assert_eq!(c.wire(five), ["puback 1 0x10", "pubrec 2 0x10"]);
    assert_eq!(c.wire(four), ["puback 1", "pubrec 2"]);
}

#[test]
fn a_repeated_qos_2_publish_is_answered_and_not_delivered_again() {
    let (mut c, publisher, subscriber) = pair(2);
    c.silence(publisher);
    let once = Message::new("t", "once", 2).id(7);
    c.publish_with(publisher, &once);
    c.publish_with(publisher, &once.dup());
    assert_eq!(c.received(subscriber), ["t=once q2"]);
    assert_eq!(c.answers(publisher), ["pubrec 7", "pubrec 7"]);
    c.pubrel(publisher, 7);
    c.publish_with(publisher, &Message::new("t", "next", 2).id(7));
    assert_eq!(c.received(subscriber), ["t=next q2"]);
}

#[test]
fn what_is_unacknowledged_comes_again_in_order_with_its_ids() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let hello = Hello::v5("subscriber").kept(100).silent();
    let subscriber = c.connect(&hello);
    c.subscribe(subscriber, "t", 2);
    for (payload, qos) in [("one", 1), ("two", 2), ("three", 2), ("four", 1)] {
        c.publish(publisher, "t", payload, qos);
    }
    c.puback(subscriber, 4);
    c.pubrec(subscriber, 3);
    c.lose(subscriber);

    let subscriber = c.connect(&hello);
    let again = [
        "connack present",
        "t=one q1 dup",
        "t=two q2 dup",
        "pubrel 3",
    ];
    let ids: Vec<u16> = c
        .deliveries(subscriber)
        .iter()
        .map(|message| message.packet_id)
        .collect();
    assert_eq!(ids, [1, 2]);
    c.lose(subscriber);
    let subscriber = c.connect(&hello);
    assert_eq!(c.wire(subscriber), again);

    c.puback(subscriber, 1);
    c.pubrec(subscriber, 2);
    c.pubcomp(subscriber, 2);
    c.pubcomp(subscriber, 3);
    c.lose(subscriber);
    let subscriber = c.connect(&hello);
    assert_eq!(c.wire(subscriber), ["connack present"]);
}

#[test]
fn overlapping_subscriptions_are_one_delivery_with_all_identifiers() {
    let mut c = Cluster::new(1);
    let (publisher, five, four) = (c.v5("publisher"), c.v5("five"), c.v311("four"));
    c.subscribe_as(five, "a/+", 0, 1);
    c.subscribe_as(five, "a/#", 2, 2);
    c.subscribe(five, "a/b", 1);
    for filter in ["a/+", "a/#", "a/b"] {
        c.subscribe(four, filter, 1);
    }
    c.publish(publisher, "a/b", "hi", 2);
    assert_eq!(c.received(five), ["a/b=hi q2 ids[1, 2]"]);
    assert_eq!(c.received(four), ["a/b=hi q1"]);
}

#[test]
fn a_subscription_made_again_replaces_the_first() {
    let mut c = Cluster::new(1);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    c.subscribe_as(subscriber, "t", 2, 5);
    c.subscribe(subscriber, "t", 0);
    c.publish(publisher, "t", "hi", 2);
    assert_eq!(c.received(subscriber), ["t=hi q0"]);
}

#[test]
fn no_local_spares_the_publisher_its_own() {
    let mut c = Cluster::new(1);
    let (me, other) = (c.v5("me"), c.v5("other"));
    c.subscribe(me, "t", 1 | NO_LOCAL);
    c.forget();
    c.publish(me, "t", "mine", 1);
    assert_eq!(c.wire(me), ["puback 2"]);
    c.publish(other, "t", "theirs", 1);
    assert_eq!(c.received(me), ["t=theirs q1"]);

    // A Subscription without No Local still counts, and only that one.
    c.subscribe_as(me, "+", 0, 5);
    c.publish(me, "t", "mine", 1);
    assert_eq!(c.received(me), ["t=mine q0 ids[5]"]);
    c.publish(other, "t", "theirs", 1);
    assert_eq!(c.received(me), ["t=theirs q1 ids[5]"]);
}

#[test]
fn retain_is_kept_only_as_published() {
    let mut c = Cluster::new(1);
    let (publisher, keeps, loses) = (c.v5("publisher"), c.v5("keeps"), c.v5("loses"));
    c.subscribe(keeps, "t", 1 | AS_PUBLISHED);
    c.subscribe(loses, "t", 1);
    c.retain(publisher, "t", "kept", 1);
    c.publish(publisher, "t", "live", 1);
    assert_eq!(c.received(keeps), ["t=kept q1 retain", "t=live q1"]);
    assert_eq!(c.received(loses), ["t=kept q1", "t=live q1"]);
}

#[test]
fn retained_messages_are_set_replaced_and_deleted() {
    let mut c = Cluster::new(1);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    c.retain(publisher, "a", "first", 1);
    c.retain(publisher, "a", "second", 2);
    c.retain(publisher, "b", "other", 0);
    c.subscribe(subscriber, "a", 1);
    assert_eq!(c.received(subscriber), ["a=second q1 retain"]);
    c.subscribe_as(subscriber, "+", 2, 9);
    let both = ["a=second q2 retain ids[9]", "b=other q0 retain ids[9]"];
    assert_eq!(c.received(subscriber), both);
    c.retain(publisher, "a", "", 0);
    assert_eq!(c.received(subscriber), ["a= q0 ids[9]"]);
    assert_eq!(c.sum(|metrics| metrics.retained), 1);
    c.subscribe(subscriber, "a", 1);
    assert_eq!(c.received(subscriber), NOTHING);
}

#[test]
fn retained_messages_come_as_retain_handling_says() {
    let mut c = Cluster::new(1);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    c.retain(publisher, "t", "kept", 1);
    let kept = ["t=kept q1 retain"];
    c.subscribe(subscriber, "t", 1 | NO_RETAINED);
    assert_eq!(c.received(subscriber), NOTHING);
    c.subscribe(subscriber, "t", 1 | IF_NEW);
    assert_eq!(c.received(subscriber), NOTHING);
    c.subscribe(subscriber, "t", 1);
    assert_eq!(c.received(subscriber), kept);
    c.unsubscribe(subscriber, "t");
    c.subscribe(subscriber, "t", 1 | IF_NEW);
    assert_eq!(c.received(subscriber), kept);
}

#[test]
fn many_retained_messages_come_within_quota_and_queue() {
    let small = |limits: &mut dunlin_engine::Limits| {
        limits.queue_messages_max = 2;
        limits.retained_chunk = 7;
    };
    let mut c = Cluster::new(1).limits(small);
    let publisher = c.v5("publisher");
    for n in 0..50 {
        c.retain(publisher, &format!("t/{n:02}"), n.to_string(), 1);
    }
    let subscriber = c.connect(&Hello::v5("subscriber").receive_maximum(3).silent());
    c.subscribe(subscriber, "t/+", 1);
    let mut received = Vec::new();
    loop {
        let some = c.deliveries(subscriber);
        if some.is_empty() {
            break;
        }
        assert!(
            some.len() <= 3,
            "{} are more than Receive Maximum",
            some.len()
        );
        for message in some {
            received.push(message.text());
            c.puback(subscriber, message.packet_id);
        }
    }
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(received, expected);
    assert_eq!(c.dropped(DropReason::QueueFull), 0);
}

#[test]
fn messages_wait_for_a_session_that_is_away() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    c.away("subscriber", "t", 2);
    for qos in 0..=2 {
        c.publish(publisher, "t", qos.to_string(), qos);
    }
    assert_eq!(c.dropped(DropReason::Offline), 1);
    let subscriber = c.kept("subscriber");
    let expected = ["connack present", "t=1 q1", "t=2 q2", "pubrel 2"];
    assert_eq!(c.wire(subscriber), expected);
}

#[test]
fn qos_0_waits_too_where_it_is_asked_for() {
    let mut c = Cluster::new(1).limits(|limits| limits.queue_qos0 = true);
    let publisher = c.v5("publisher");
    c.away("subscriber", "t", 1);
    for qos in [1, 0, 1] {
        c.publish(publisher, "t", "hi", qos);
    }
    let subscriber = c.kept("subscriber");
    assert_eq!(c.received(subscriber), ["t=hi q1", "t=hi q0", "t=hi q1"]);
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_it() {
    let mut c = Cluster::new(1).limits(|limits| limits.queue_messages_max = 3);
    let publisher = c.v5("publisher");
    for (round, dropped) in [(0, 2), (1, 4)] {
        c.away("subscriber", "t", 1);
        c.forget();
        for n in 0..5 {
            c.publish(publisher, "t", n.to_string(), 1);
        }
        assert_eq!(c.dropped(DropReason::QueueFull), dropped);
        let full = DropReason::QueueFull;
        let told = |event: &Event| match event {
            Event::Dropping { reason, .. } => *reason == full,
            _ => false,
        };
        let told = c.events().iter().filter(|event| told(event)).count();
        assert_eq!(told, 1, "round {round}");
        let acked: Vec<u8> = c.acks(publisher).iter().map(|(.., code)| *code).collect();
        assert_eq!(acked, [0; 5]);
        let subscriber = c.kept("subscriber");
        assert_eq!(c.received(subscriber), ["t=0 q1", "t=1 q1", "t=2 q1"]);
    }
}

#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let mut c = Cluster::new(1).limits(|limits| limits.queue_bytes_max = 10);
    let publisher = c.v5("publisher");
    c.away("subscriber", "t", 1);
    for payload in ["12345", "1234567", "12345", "1"] {
        c.publish(publisher, "t", payload, 1);
    }
    assert_eq!(c.dropped(DropReason::QueueFull), 2);
    let subscriber = c.kept("subscriber");
    assert_eq!(c.payloads(subscriber), ["12345", "12345"]);
}

#[test]
fn reject_tells_the_publisher_when_nobody_could_take_its_message() {
    let full = |limits: &mut dunlin_engine::Limits| {
        limits.queue_messages_max = 1;
        limits.queue_full = QueueFull::Reject;
    };
    let mut c = Cluster::new(1).limits(full);
    let (five, four) = (c.v5("five"), c.v311("four"));
    c.away("subscriber", "t", 2);
    c.forget();
    c.publish(five, "u", "nobody", 1);
    c.publish(five, "t", "fits", 1);
    c.publish(five, "t", "does not", 1);
    c.publish(five, "t", "does not", 2);
    let answers = [
        "puback 1 0x10",
        "puback 2",
        "puback 3 0x97",
        "pubrec 4 0x97",
    ];
    assert_eq!(c.answers(five), answers);
    c.publish(four, "t", "does not", 1);
    assert_eq!(c.answers(four), ["puback 1"]);
    assert_eq!(c.dropped(DropReason::QueueFull), 3);

    let other = c.v5("other");
    c.subscribe(other, "t", 0);
    c.publish(five, "t", "for the other", 1);
    assert_eq!(c.answers(five), ["puback 5"]);
    assert_eq!(c.received(other), ["t=for the other q0"]);
}

/// PUBREC with an error ends the exchange, so the next PUBLISH with its id is a new one.
#[test]
fn a_rejected_qos_2_message_leaves_its_packet_id_free() {
    let full = |limits: &mut dunlin_engine::Limits| {
        limits.queue_messages_max = 1;
        limits.queue_full = QueueFull::Reject;
    };
    let mut c = Cluster::new(1).limits(full);
    let publisher = c.v5("publisher");
    c.away("subscriber", "t", 2);
    c.publish(publisher, "t", "fits", 1);
    c.forget();
    c.publish_with(publisher, &Message::new("t", "does not", 2).id(9));
    assert_eq!(c.answers(publisher), ["pubrec 9 0x97"]);
    let subscriber = c.kept("subscriber");
    assert_eq!(c.received(subscriber), ["t=fits q1"]);
    c.publish_with(publisher, &Message::new("t", "now it does", 2).id(9));
    assert_eq!(c.received(subscriber), ["t=now it does q2"]);
}

#[test]
fn messages_expire_by_the_clock() {
    let mut c = Cluster::new(1);
    let (publisher, live) = (c.v5("publisher"), c.v5("live"));
    c.away("subscriber", "t", 1);
    c.subscribe(live, "t", 0);
    for (payload, seconds) in [("short", 10), ("long", 100)] {
        let message = Message::new("t", payload, 1).expiry(seconds);
        c.publish_with(publisher, &message);
    }
    assert_eq!(
        c.received(live),
        ["t=short q0 expiry 10", "t=long q0 expiry 100"]
    );
    c.wait(30);
    let subscriber = c.kept("subscriber");
    assert_eq!(c.received(subscriber), ["t=long q1 expiry 70"]);
    assert_eq!(c.dropped(DropReason::Expired), 1);
}

#[test]
fn retained_messages_expire_by_the_clock() {
    let mut c = Cluster::new(1);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    let message = Message::new("t", "kept", 1).retain().expiry(10);
    c.publish_with(publisher, &message);
    c.wait(4);
    c.subscribe(subscriber, "t", 0);
    assert_eq!(c.received(subscriber), ["t=kept q0 retain expiry 6"]);
    assert_eq!(c.sum(|metrics| metrics.retained), 1);
    c.wait(7);
    assert_eq!(c.sum(|metrics| metrics.retained), 0);
    c.subscribe(subscriber, "t", 0);
    assert_eq!(c.received(subscriber), NOTHING);
}

#[test]
fn a_publisher_may_name_topics_by_alias() {
    let (mut c, publisher, subscriber) = pair(0);
    for (topic, payload) in [("t", "1"), ("", "2"), ("u", "3"), ("", "4")] {
        c.publish_with(publisher, &Message::new(topic, payload, 0).alias(3));
    }
    assert_eq!(
        c.received(subscriber),
        ["t=1 q0", "t=2 q0", "u=3 q0", "u=4 q0"]
    );
    for (topic, alias, reason) in [("", 1, "0x82"), ("t", 11, "0x94"), ("", 11, "0x94")] {
        let publisher = c.v5("other");
        c.forget();
        c.publish_with(publisher, &Message::new(topic, "hi", 0).alias(alias));
        let expected = [format!("disconnect {reason}"), "closed".to_owned()];
        assert_eq!(c.answers(publisher), expected);
    }
    assert_eq!(c.received(subscriber), NOTHING);
}

#[test]
fn a_subscriber_gets_aliases_as_far_as_it_allows() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let subscriber = c.connect(&Hello::v5("subscriber").aliases(1));
    let plain = c.v5("plain");
    c.subscribe_as(subscriber, "#", 1, 4);
    c.subscribe(plain, "#", 1);
    for topic in ["t", "t", "u", "t"] {
        c.publish(publisher, topic, "hi", 1);
    }
    let expected = [
        "t=hi q1 ids[4] alias 1",
        "t=hi q1 ids[4] by alias 1",
        "u=hi q1 ids[4]",
        "t=hi q1 ids[4] by alias 1",
    ];
    assert_eq!(c.received(subscriber), expected);
    assert_eq!(
        c.received(plain),
        ["t=hi q1", "t=hi q1", "u=hi q1", "t=hi q1"]
    );
}

#[test]
fn properties_are_passed_on_in_order_and_others_are_not() {
    let (mut c, publisher, subscriber) = pair(1);
    let message = Message::new("t", "hi", 1)
        .user("b", "1")
        .alias(2)
        .property(Property::ContentType("text"))
        .user("a", "2")
        .user("b", "3");
    c.publish_with(publisher, &message);
    assert_eq!(c.received(subscriber), ["t=hi q1 b:1 a:2 b:3"]);
}

#[test]
fn large_payloads_come_whole_whatever_the_sizes_of_writes() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let aliasing = c.connect(&Hello::v5("aliasing").aliases(5));
    let subscribers = [c.v5("five"), c.v311("four"), aliasing];
    for subscriber in subscribers {
        c.subscribe(subscriber, "t", 1);
        c.stick(subscriber);
    }
    c.forget();
    let large: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
    let larger: Vec<u8> = (0..70_000_u32).map(|n| (n * 7) as u8).collect();
    c.publish(publisher, "t", &large, 1);
    c.publish(publisher, "t", "small", 1);
    c.publish(publisher, "t", &larger, 0);
    for (subscriber, step) in subscribers.into_iter().zip([777, 4096, 9_999]) {
        while c.read(subscriber, step) > 0 {}
        let payloads: Vec<Vec<u8>> = c
            .deliveries(subscriber)
            .into_iter()
            .map(|message| message.payload)
            .collect();
        assert_eq!(payloads.len(), 3);
        assert!(payloads[0] == large && payloads[1] == b"small" && payloads[2] == larger);
    }
}

#[test]
fn a_packet_beyond_maximum_packet_size_is_not_sent_and_counted() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let small = c.connect(&Hello::v5("small").packet_size_max(40));
    let other = c.v5("other");
    for subscriber in [other, small] {
        c.subscribe(subscriber, "t", 1);
    }
    c.forget();
    for (payload, qos) in [("x".repeat(50), 0), ("y".repeat(50), 1), ("z".repeat(5), 1)] {
        c.publish(publisher, "t", payload, qos);
    }
    assert_eq!(c.received(small), ["t=zzzzz q1"]);
    assert_eq!(c.payloads(other).len(), 3);
    assert_eq!(c.dropped(DropReason::TooLarge), 2);
    assert_eq!(c.answers(publisher), ["puback 1", "puback 2"]);
}

#[test]
fn no_more_is_sent_than_receive_maximum_allows() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let subscriber = c.connect(&Hello::v5("subscriber").receive_maximum(2).silent());
    c.subscribe(subscriber, "t", 2);
    for (n, qos) in [(1, 1), (2, 2), (3, 1), (4, 0), (5, 1)] {
        c.publish(publisher, "t", n.to_string(), qos);
    }
    assert_eq!(c.received(subscriber), ["t=1 q1", "t=2 q2"]);
    c.puback(subscriber, 1);
    assert_eq!(c.received(subscriber), ["t=3 q1", "t=4 q0"]);
    c.pubrec(subscriber, 2);
    assert_eq!(c.received(subscriber), NOTHING);
    c.pubcomp(subscriber, 2);
    assert_eq!(c.received(subscriber), ["t=5 q1"]);
}

#[test]
fn bytes_in_flight_are_bounded() {
    let mut c = Cluster::new(1).limits(|limits| limits.inflight_bytes_max = 10);
    let (publisher, subscriber) = (c.v5("publisher"), c.v5("subscriber"));
    c.silence(subscriber);
    c.subscribe(subscriber, "t", 1);
    for payload in ["12345", "12345", "1", "a single one may be larger"] {
        c.publish(publisher, "t", payload, 1);
    }
    assert_eq!(c.payloads(subscriber), ["12345", "12345"]);
    c.puback(subscriber, 1);
    assert_eq!(c.payloads(subscriber), ["1"]);
    c.puback(subscriber, 2);
    assert_eq!(c.payloads(subscriber).len(), 0);
    c.puback(subscriber, 3);
    assert_eq!(c.payloads(subscriber), ["a single one may be larger"]);
}

#[test]
fn a_stuck_reader_costs_its_own_queue_and_nobody_else() {
    for qos in 0..=1 {
        let bounds = |limits: &mut dunlin_engine::Limits| {
            limits.outgoing_bytes_max = 1000;
            limits.queue_messages_max = 50;
        };
        let mut c = Cluster::new(1).limits(bounds);
        let (publisher, stuck, other) = (c.v5("publisher"), c.v5("stuck"), c.v5("other"));
        c.subscribe(stuck, "t", qos);
        c.subscribe(other, "t", qos);
        c.stick(stuck);
        let messages: Vec<String> = (0..500).map(|n| format!("{n:0>100}")).collect();
        for message in &messages {
            c.publish(publisher, "t", message, qos);
            assert!(c.outgoing(stuck) < 1000 + 200);
        }
        assert_eq!(c.payloads(other), messages);
        c.unstick(stuck);
        let received = c.payloads(stuck);
        assert_eq!(received, messages[..received.len()]);
        let dropped = c.dropped(DropReason::QueueFull) as usize;
        assert_eq!(received.len() + dropped, messages.len());
        assert!(received.len() > 50, "{} came", received.len());
        c.publish(publisher, "t", "at last", qos);
        assert_eq!(c.payloads(stuck), ["at last"]);
    }
}

#[test]
fn large_payloads_arrive_whole_wherever_they_wait() {
    for bytes in [4095, 4096, 70_000] {
        let payload = |n: usize| format!("{n:x}").repeat(bytes);
        let bounds = |limits: &mut dunlin_engine::Limits| limits.queue_qos0 = true;
        let mut c = Cluster::new(1).limits(bounds);
        let (publisher, other) = (c.v5("publisher"), c.v5("other"));
        c.subscribe(other, "t", 0);
        // Written at once, then stuck in a full socket, with the publisher gone before it is written.
        c.publish(publisher, "t", payload(1), 0);
        assert_eq!(c.payloads(other), [payload(1)]);
        c.stick(other);
        c.publish(publisher, "t", payload(2), 0);
        c.publish(publisher, "t", payload(3), 0);
        c.retain(publisher, "t", payload(4), 0);
        c.lose(publisher);
        c.unstick(other);
        assert_eq!(c.payloads(other), [payload(2), payload(3), payload(4)]);
        // Its own message, and the retained one.
        c.subscribe(other, "t", 0);
        assert_eq!(c.payloads(other), [payload(4)]);
        c.publish(other, "t", payload(5), 0);
        assert_eq!(c.payloads(other), [payload(5)]);
    }
}

#[test]
fn limits_have_their_reason_codes() {
    let bounds = |limits: &mut dunlin_engine::Limits| {
        limits.subscriptions_max = 2;
        limits.topic_levels_max = 3;
        limits.payload_bytes_max = 5;
    };
    let mut c = Cluster::new(1).limits(bounds);
    let (five, four) = (c.v5("five"), c.v311("four"));
    c.forget();
    for client in [five, four] {
        let filters = [("a/b/c/d", 0), ("a", 0), ("b", 1), ("c", 2), ("a", 2)];
        c.subscribe_all(client, &filters, 0);
        c.publish(client, "none", "123456", 1);
        c.publish(client, "$SYS/none", "1", 1);
    }
    let answers = [
        "suback 1 [8f, 00, 01, 97, 02]",
        "puback 2 0x83",
        "puback 3 0x87",
    ];
    assert_eq!(c.answers(five), answers);
    let answers = ["suback 1 [80, 00, 01, 80, 02]", "puback 2", "puback 3"];
    assert_eq!(c.answers(four), answers);
    assert_eq!(c.dropped(DropReason::SizeLimit), 2);
    assert_eq!(c.dropped(DropReason::NotAuthorized), 2);
    c.publish(five, "a/b/c/d", "1", 0);
    assert_eq!(c.answers(five), ["disconnect 0x90", "closed"]);
}

#[test]
fn unsubscribe_says_what_was_there() {
    let (mut c, publisher, subscriber) = pair(1);
    c.unsubscribe_all(subscriber, &["#", "t", "a#"]);
    assert_eq!(c.answers(subscriber), ["unsuback 2 [00, 11, 8f]"]);
    c.publish(publisher, "t", "hi", 1);
    assert_eq!(c.answers(publisher), ["puback 1 0x10"]);
    assert_eq!(c.received(subscriber), NOTHING);
}

/// Lets everything pass until it is told otherwise, and then nobody reads.
struct Revocable(AtomicBool);

impl Authorizer for Revocable {
    fn allows(&self, _: &Principal, client_id: &str, access: Access, topic: &str) -> bool {
        match access {
            Access::Read => client_id == "trusted" || !self.0.load(Ordering::Relaxed),
            Access::Write => topic != "forbidden",
            Access::Subscribe => topic != "secret",
        }
    }
}

#[test]
fn a_right_that_is_taken_away_stops_the_next_message() {
    let revocable = Arc::new(Revocable(AtomicBool::new(false)));
    let authorizer: Arc<dyn Authorizer> = revocable.clone();
    let mut c = Cluster::new(1).authorizer(authorizer);
    let (publisher, trusted) = (c.v5("publisher"), c.v5("trusted"));
    c.away("away", "t", 1);
    let here = c.v5("here");
    for subscriber in [here, trusted] {
        c.subscribe(subscriber, "t", 1);
    }
    c.forget();
    c.retain(publisher, "t", "before", 1);
    revocable.0.store(true, Ordering::Relaxed);
    c.publish(publisher, "t", "after", 1);
    c.subscribe(here, "t", 1);
    let away = c.kept("away");
    assert_eq!(c.received(here), ["t=before q1"]);
    assert_eq!(c.received(away), NOTHING);
    assert_eq!(c.received(trusted), ["t=before q1", "t=after q1"]);
    // Live to two, queued to one, retained to one.
    assert_eq!(c.dropped(DropReason::NotAuthorized), 4);

    c.forget();
    c.publish(publisher, "forbidden", "hi", 1);
    c.subscribe(publisher, "secret", 1);
    assert_eq!(c.answers(publisher), ["puback 3 0x87", "suback 4 [87]"]);
}
