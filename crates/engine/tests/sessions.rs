//! The life of connections, Sessions and Wills, by packets and by the clock.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;

use bench::{Cluster, Hello, Message, NOTHING};
use dunlin_engine::{DropReason, partition_of, worker_of};
use dunlin_packet::{
    Packet, PacketId, Properties, ReasonCode, Subscribe, SubscribeBody, SubscriptionOptions,
};

#[test]
fn a_new_connection_takes_the_session_over() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let hello = Hello::v5("subscriber").kept(100).silent();
    let old = c.connect(&hello);
    c.subscribe(old, "t", 1);
    c.publish(publisher, "t", "one", 1);
    let new = c.connect(&hello);
    c.publish(publisher, "t", "two", 1);
    let old_got = [
        "connack",
        "suback 1 [01]",
        "t=one q1",
        "disconnect 0x8e",
        "closed",
    ];
    assert_eq!(c.wire(old), old_got);
    assert_eq!(c.wire(new), ["connack present", "t=one q1 dup", "t=two q1"]);
    assert_eq!(c.sum(|metrics| metrics.connections), 2);
}

#[test]
fn a_clean_start_takes_the_connection_over_and_not_the_session() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    for (first, last) in [
        (Hello::v5("subscriber").kept(100), "disconnect 0x8e"),
        (Hello::v311("subscriber").kept(0), "suback 1 [01]"),
    ] {
        let old = c.connect(&first);
        c.subscribe(old, "t", 1);
        let new = c.v5("subscriber");
        c.publish(publisher, "t", "hi", 1);
        assert_eq!(c.answers(new), ["connack"]);
        assert_eq!(c.received(new), NOTHING);
        let answers = c.answers(old);
        assert_eq!(answers[answers.len() - 2..], [last, "closed"]);
    }
}

#[test]
fn a_session_is_there_for_as_long_as_was_asked() {
    for (hello, seconds, present) in [
        (Hello::v5("c"), 0, false),
        (Hello::v5("c").kept(30), 29, true),
        (Hello::v5("c").kept(30), 30, false),
        (Hello::v5("c").kept(u32::MAX), 100_000_000, true),
        (Hello::v311("c"), 0, false),
        (Hello::v311("c").kept(0), 100_000_000, true),
        (Hello::v31("c").kept(0), 100_000_000, true),
    ] {
        let mut c = Cluster::new(1);
        let publisher = c.v5("publisher");
        let client = c.connect(&hello);
        c.subscribe(client, "t", 1);
        c.lose(client);
        c.wait(seconds);
        c.publish(publisher, "t", "hi", 1);
        let client = c.connect(&hello);
        let expected: &[&str] = if present { &["t=hi q1"] } else { &NOTHING };
        assert_eq!(c.received(client), expected, "after {seconds} s");
        assert_eq!(c.sum(|metrics| metrics.sessions), 2);
    }
}

#[test]
fn session_present_says_whether_the_session_was_kept() {
    let mut c = Cluster::new(1);
    let hello = Hello::v5("c").kept(30);
    for (seconds, expected) in [(0, "connack"), (29, "connack present"), (31, "connack")] {
        c.wait(seconds);
        let client = c.connect(&hello);
        assert_eq!(c.answers(client), [expected]);
        c.lose(client);
    }
}

#[test]
fn disconnect_may_change_the_expiry() {
    let mut c = Cluster::new(1);
    let hello = Hello::v5("c").kept(30);
    for (expiry, seconds, expected) in [
        (Some(5), 6, "connack"),
        (Some(100), 99, "connack present"),
        (Some(0), 0, "connack"),
        (None, 29, "connack present"),
    ] {
        let client = c.connect(&hello.clone().clean());
        c.disconnect_with(client, ReasonCode::NormalDisconnection, expiry);
        c.wait(seconds);
        let client = c.connect(&hello);
        assert_eq!(c.answers(client), [expected], "{expiry:?}");
    }
    let client = c.v5("other");
    c.forget();
    c.disconnect_with(client, ReasonCode::NormalDisconnection, Some(5));
    assert_eq!(c.answers(client), ["disconnect 0x82", "closed"]);
}

#[test]
fn the_listener_caps_the_expiry() {
    let mut c = Cluster::new(1).offer(|offer| offer.session_expiry_max_s = Some(10));
    let hello = Hello::v311("c").kept(0);
    for (seconds, expected) in [(0, "connack"), (9, "connack present"), (10, "connack")] {
        c.wait(seconds);
        let client = c.connect(&hello);
        assert_eq!(c.answers(client), [expected]);
        c.lose(client);
    }
}

#[test]
fn what_waits_for_a_session_that_ends_is_counted() {
    let mut c = Cluster::new(1);
    let publisher = c.v5("publisher");
    let subscriber = c.connect(&Hello::v5("subscriber").kept(10));
    c.subscribe(subscriber, "t", 1);
    c.lose(subscriber);
    for _ in 0..3 {
        c.publish(publisher, "t", "hi", 1);
    }
    c.wait(10);
    assert_eq!(c.dropped(DropReason::SessionEnded), 3);
    assert_eq!(c.sum(|metrics| metrics.sessions), 1);
    c.forget();
    c.publish(publisher, "t", "hi", 1);
    assert_eq!(c.answers(publisher), ["puback 4 0x10"]);
}

#[test]
fn a_will_is_published_unless_the_client_took_leave() {
    let ends = [
        "leave",
        "loss",
        "leave with will",
        "second CONNECT",
        "takeover",
    ];
    for end in ends {
        let mut c = Cluster::new(1);
        let watcher = c.v5("watcher");
        c.subscribe(watcher, "will", 1);
        let will = Message::new("will", "gone", 2);
        let dying = c.connect(&Hello::v5("dying").will(will));
        match end {
            "leave" => c.disconnect(dying),
            "loss" => c.lose(dying),
            "leave with will" => c.disconnect_with(dying, ReasonCode::DisconnectWithWill, None),
            "second CONNECT" => c.send_bytes(dying, &Hello::v5("dying").bytes()),
            _ => assert_ne!(c.v5("dying"), dying),
        }
        let expected: &[&str] = match end {
            "leave" => &NOTHING,
            _ => &["will=gone q1"],
        };
        assert_eq!(c.received(watcher), expected, "{end}");
        assert!(!c.is_open(dying), "{end}");
    }
}

#[test]
fn a_will_finds_its_own_way_while_another_message_is_on_its_way() {
    let strict = |limits: &mut dunlin_engine::Limits| limits.receive_maximum_strict = true;
    let mut c = Cluster::new(1).limits(strict);
    let watcher = c.v5("watcher");
    c.subscribe(watcher, "will", 0);
    let other = c.v5("other");
    c.subscribe(other, "t/#", 0);
    let will = Message::new("will", "gone", 0);
    let dying = c.connect(&Hello::v5("dying").will(will));
    c.silence(dying);
    // Topics that were never used before; one packet too many ends the connection, and the Will is published.
    for n in 0..21 {
        c.publish(dying, &format!("t/{n}"), "live", 2);
    }
    assert_eq!(c.payloads(watcher), ["gone"]);
    assert_eq!(c.payloads(other), vec!["live"; 20]);
}

#[test]
fn a_will_keeps_its_properties_and_counts_its_expiry_from_its_publication() {
    let mut c = Cluster::new(1);
    let watcher = c.v5("watcher");
    c.subscribe(watcher, "will", 1);
    let will = Message::new("will", "gone", 1)
        .expiry(30)
        .user("why", "lost")
        .delay(10)
        .retain();
    let dying = c.connect(&Hello::v5("dying").kept(100).will(will));
    c.lose(dying);
    c.wait(10);
    assert_eq!(c.received(watcher), ["will=gone q1 expiry 30 why:lost"]);
    c.wait(10);
    let late = c.v5("late");
    c.subscribe(late, "will", 1);
    let retained = ["will=gone q1 retain expiry 20 why:lost"];
    assert_eq!(c.received(late), retained);
}

#[test]
fn a_will_waits_for_its_delay_by_the_clock() {
    let mut c = Cluster::new(1);
    let watcher = c.v5("watcher");
    c.subscribe(watcher, "will", 1);
    let will = Message::new("will", "gone", 1).delay(10);
    let hello = Hello::v5("dying").kept(100).will(will);

    let dying = c.connect(&hello);
    c.lose(dying);
    c.wait_ms(9_999);
    assert_eq!(c.received(watcher), NOTHING);
    c.wait_ms(1);
    assert_eq!(c.received(watcher), ["will=gone q1"]);

    // Back in time, by a new connection or by taking over an old one.
    let dying = c.connect(&hello);
    c.lose(dying);
    c.wait(9);
    c.connect(&hello);
    let dying = c.kept("dying");
    c.wait(50);
    c.lose(dying);
    c.wait(50);
    assert_eq!(c.received(watcher), NOTHING);

    // A new Session ends the old one, and so its delay.
    let dying = c.connect(&hello);
    c.lose(dying);
    c.v5("dying");
    assert_eq!(c.received(watcher), ["will=gone q1"]);
}

#[test]
fn a_will_does_not_wait_longer_than_its_session() {
    let mut c = Cluster::new(1);
    let watcher = c.v5("watcher");
    c.subscribe(watcher, "will", 1);
    let will = Message::new("will", "gone", 1).delay(60);
    let dying = c.connect(&Hello::v5("dying").kept(5).will(will.clone()));
    c.lose(dying);
    c.wait(4);
    assert_eq!(c.received(watcher), NOTHING);
    c.wait(1);
    assert_eq!(c.received(watcher), ["will=gone q1"]);
    let dying = c.connect(&Hello::v5("dying").will(will));
    c.lose(dying);
    assert_eq!(c.received(watcher), ["will=gone q1"]);
    c.wait(100);
    assert_eq!(c.received(watcher), NOTHING);
}

#[test]
fn a_silent_connection_ends_after_one_and_a_half_times_keep_alive() {
    let mut c = Cluster::new(1);
    let watcher = c.v5("watcher");
    c.subscribe(watcher, "will", 1);
    let alive = |hello: Hello| {
        let will = Message::new("will", &hello.client_id, 1);
        hello.keep_alive(10).will(will)
    };
    let five = c.connect(&alive(Hello::v5("five")));
    let four = c.connect(&alive(Hello::v311("four")));
    c.wait_ms(14_999);
    assert!(c.is_open(five) && c.is_open(four));
    c.ping(five);
    c.wait_ms(501);
    assert!(c.is_open(five) && !c.is_open(four));
    c.wait_ms(14_000);
    assert!(c.is_open(five));
    c.wait_ms(1_000);
    assert!(!c.is_open(five));
    let answers = ["connack", "pingresp", "disconnect 0x8d", "closed"];
    assert_eq!(c.answers(five), answers);
    assert_eq!(c.answers(four), ["connack", "closed"]);
    assert_eq!(c.received(watcher), ["will=four q1", "will=five q1"]);
}

#[test]
fn without_keep_alive_a_connection_may_be_silent() {
    let mut c = Cluster::new(1);
    let client = c.v5("c");
    assert_eq!(c.next_timeout(), None);
    c.wait(1_000_000);
    assert!(c.is_open(client));
}

#[test]
fn the_listener_may_shorten_keep_alive() {
    let mut c = Cluster::new(1).offer(|offer| offer.keep_alive_max_s = 10);
    let five = c.connect(&Hello::v5("five").keep_alive(60));
    let four = c.connect(&Hello::v311("four").keep_alive(60));
    assert_eq!(c.answers(four), ["connack 0x85", "closed"]);
    c.wait(16);
    assert_eq!(c.answers(five), ["connack", "disconnect 0x8d", "closed"]);
}

#[test]
fn an_assigned_identifier_belongs_to_the_worker_that_assigned_it() {
    let mut c = Cluster::new(3);
    for worker in 0..3 {
        let first = c.connect(&Hello::v5("").on_worker(worker));
        let second = c.connect(&Hello::v5("").on_worker(worker));
        let ids = [c.client_id(first), c.client_id(second)];
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            assert!(id.starts_with("auto-"), "{id}");
            assert_eq!(worker_of(partition_of(id.as_bytes()), 3), worker);
        }
    }
}

#[test]
fn connect_subscribe_and_publish_may_come_in_one_segment() {
    for workers in 1..=3 {
        let mut c = Cluster::new(workers);
        let mut body = SubscribeBody::new();
        let options = SubscriptionOptions::from_byte(1).unwrap();
        body.push("t", options);
        let id = PacketId::new(1).unwrap();
        let subscribe = Subscribe::from_body(id, Properties::EMPTY, body.as_bytes());
        let message = Message::new("t", "hi", 1);
        let name = c.name_on(workers - 1, "c");
        let hello = Hello::v5(&name)
            .then(&Packet::Subscribe(subscribe))
            .then(&message.packet(2));
        let client = c.connect(&hello);
        let expected = ["connack", "suback 1 [01]", "t=hi q1", "puback 2"];
        assert_eq!(c.wire(client), expected);
    }
}

#[test]
fn shutdown_tells_clients_and_keeps_sessions() {
    let mut c = Cluster::new(2);
    let five = c.kept("five");
    let four = c.v311("four");
    c.forget();
    c.shutdown();
    assert_eq!(c.answers(five), ["disconnect 0x8b", "closed"]);
    assert_eq!(c.answers(four), ["closed"]);
    assert_eq!(c.sum(|metrics| metrics.sessions), 1);
    assert_eq!(c.sum(|metrics| metrics.connections), 0);
}

#[test]
fn a_client_beyond_our_receive_maximum_is_warned_about_and_then_ended() {
    let mut c = Cluster::new(1);
    let client = c.v5("c");
    c.silence(client);
    c.forget();
    for n in 1..=200 {
        c.publish_with(client, &Message::new("t", "hi", 2).id(n));
    }
    assert!(c.is_open(client));
    assert_eq!(c.events().len(), 1);
    c.publish_with(client, &Message::new("t", "hi", 2).id(201));
    let answers = c.answers(client);
    assert_eq!(answers[answers.len() - 2..], ["disconnect 0x93", "closed"]);

    let strict = |limits: &mut dunlin_engine::Limits| limits.receive_maximum_strict = true;
    let mut c = Cluster::new(1).limits(strict);
    let client = c.v5("c");
    c.silence(client);
    for n in 1..=20 {
        c.publish_with(client, &Message::new("t", "hi", 2).id(n));
    }
    assert!(c.is_open(client));
    c.publish_with(client, &Message::new("t", "hi", 2).id(21));
    assert!(!c.is_open(client));
}
