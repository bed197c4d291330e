//! The Rust client rumqttc against the broker, at MQTT 3.1.1 (its `v4`) and 5.0 (its `v5`): QoS 0, 1
//! and 2, delivery at the lower QoS, retained messages and Will.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod common;
#[cfg(test)]
#[path = "common/peer.rs"]
mod peer;

use peer::{Message, Peer};

/// Each check as a test at both versions.
macro_rules! at_both_versions {
    ($($check:ident),+ $(,)?) => {
        mod v4 {
            $(
                #[test]
                fn $check() {
                    crate::peer::run(crate::$check::<crate::peer::v4::Client>);
                }
            )+
        }

        mod v5 {
            $(
                #[test]
                fn $check() {
                    crate::peer::run(crate::$check::<crate::peer::v5::Client>);
                }
            )+
        }
    };
}

at_both_versions![
    qos_0_round_trip,
    qos_1_round_trip,
    qos_2_round_trip,
    delivery_qos_is_the_lower_of_both,
    retained_is_set_replaced_and_deleted,
    will_is_published_when_the_connection_breaks,
];

async fn round_trip<P: Peer>(port: u16, qos: u8) {
    let mut subscriber = P::connect(port, "sub", None).await;
    subscriber.subscribe("round/trip", qos).await;
    let mut publisher = P::connect(port, "pub", None).await;
    let large = vec![0xA5; 8_000];
    let payloads: [&[u8]; 4] = [b"", b"hello", &large, b"\0\xff"];
    for payload in payloads {
        let message = Message::new("round/trip", payload, qos);
        publisher.publish(&message).await;
        assert_eq!(subscriber.next_message().await, message);
    }
}

async fn qos_0_round_trip<P: Peer>(port: u16) {
    round_trip::<P>(port, 0).await;
}

async fn qos_1_round_trip<P: Peer>(port: u16) {
    round_trip::<P>(port, 1).await;
}

async fn qos_2_round_trip<P: Peer>(port: u16) {
    round_trip::<P>(port, 2).await;
}

async fn delivery_qos_is_the_lower_of_both<P: Peer>(port: u16) {
    let mut publisher = P::connect(port, "pub", None).await;
    for granted in 0..=2 {
        let mut subscriber = P::connect(port, "sub", None).await;
        subscriber.subscribe("downgrade", granted).await;
        for sent in 0..=2 {
            publisher
                .publish(&Message::new("downgrade", b"hello", sent))
                .await;
            let wanted = Message::new("downgrade", b"hello", sent.min(granted));
            assert_eq!(subscriber.next_message().await, wanted);
        }
        subscriber.disconnect().await;
    }
}

async fn retained_is_set_replaced_and_deleted<P: Peer>(port: u16) {
    let mut publisher = P::connect(port, "pub", None).await;
    let kept = Message::new("state/kept", b"on", 1).retained();
    publisher.publish(&kept).await;
    for payload in [b"warm", b"hot!"] {
        let message = Message::new("state/heater", payload, 1).retained();
        publisher.publish(&message).await;
        let mut late = P::connect(port, "late", None).await;
        late.subscribe("state/heater", 1).await;
        assert_eq!(late.next_message().await, message);
        late.disconnect().await;
    }
    publisher
        .publish(&Message::new("state/heater", b"", 1).retained())
        .await;
    let mut late = P::connect(port, "late", None).await;
    late.subscribe("state/#", 1).await;
    assert_eq!(late.next_message().await, kept);
    // A live copy has no RETAIN; that it comes next shows that nothing else was retained.
    publisher
        .publish(&Message::new("state/heater", b"cold", 1).retained())
        .await;
    assert_eq!(
        late.next_message().await,
        Message::new("state/heater", b"cold", 1)
    );
}

async fn will_is_published_when_the_connection_breaks<P: Peer>(port: u16) {
    let mut watcher = P::connect(port, "watcher", None).await;
    watcher.subscribe("status/#", 2).await;
    for qos in 0..=2 {
        // New names each time: a client that came back early would take over, and that ends in a Will.
        let orderly = Message::new("status/orderly", b"gone", qos);
        P::connect(port, &format!("orderly-{qos}"), Some(orderly))
            .await
            .disconnect()
            .await;
        let broken = Message::new(&format!("status/broken/{qos}"), b"gone", qos);
        P::connect(
            port,
            &format!("broken-{qos}"),
            Some(broken.clone().retained()),
        )
        .await
        .break_off();
        assert_eq!(watcher.next_message().await, broken);
    }
    let mut late = P::connect(port, "late", None).await;
    late.subscribe("status/broken/1", 2).await;
    let wanted = Message::new("status/broken/1", b"gone", 1).retained();
    assert_eq!(late.next_message().await, wanted);
}
