//! A client of rumqttc that a check drives step by step, the same at 3.1.1 and at 5.0. Each wait is for
//! an event of its event loop and bounded.

use std::time::Duration;

use crate::common::BrokerProcess;

/// How long a client waits for any one event.
const WAIT: Duration = Duration::from_secs(5);

/// An Application Message or a Will, in terms that both versions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// 0 to 2.
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

impl Message {
    /// A message without RETAIN.
    pub(crate) fn new(topic: &str, payload: &[u8], qos: u8) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            qos,
            retain: false,
        }
    }

    /// The same with RETAIN.
    pub(crate) fn retained(self) -> Self {
        Self {
            retain: true,
            ..self
        }
    }
}

/// What the checks do with a client of either version.
pub(crate) trait Peer: Sized {
    /// Connects with a clean start and waits for CONNACK.
    async fn connect(port: u16, client_id: &str, will: Option<Message>) -> Self;
    /// Subscribes, waits for SUBACK and demands the QoS asked for.
    async fn subscribe(&mut self, filter: &str, qos: u8);
    /// Publishes and waits until the broker has taken the message as its QoS demands.
    async fn publish(&mut self, message: &Message);
    /// Waits for the next message.
    async fn next_message(&mut self) -> Message;
    /// Says DISCONNECT and closes the connection.
    async fn disconnect(self);
    /// Closes the connection without a DISCONNECT.
    fn break_off(self);
}

/// Runs one check against a broker of its own.
pub(crate) fn run<F>(check: impl FnOnce(u16) -> F)
where
    F: Future<Output = ()>,
{
    let broker = BrokerProcess::start("");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(check(broker.port));
}

/// The client over the types of one version, which the module that calls this has imported.
macro_rules! client {
    () => {
        /// One client with the event loop that moves it.
        pub(crate) struct Client {
            client_id: String,
            client: AsyncClient,
            event_loop: EventLoop,
            /// Messages that came while something else was awaited.
            early: VecDeque<Message>,
        }

        impl Client {
            /// Moves the event loop until `pick` finds what it looks for; messages are kept.
            async fn until<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
                loop {
                    let id = &self.client_id;
                    let event = match tokio::time::timeout(WAIT, self.event_loop.poll()).await {
                        Ok(Ok(event)) => event,
                        Ok(Err(error)) => panic!("{id} waited for {what}: {error}"),
                        Err(_) => panic!("{id} waited {} s for {what}", WAIT.as_secs()),
                    };
                    if let Event::Incoming(Incoming::Publish(publish)) = &event {
                        self.early.push_back(message(publish));
                    }
                    if let Some(found) = pick(&event) {
                        return found;
                    }
                }
            }
        }

        impl Peer for Client {
            async fn connect(port: u16, client_id: &str, will: Option<Message>) -> Self {
                let mut options = MqttOptions::new(client_id, "127.0.0.1", port);
                if let Some(will) = will {
                    options.set_last_will(last_will(will));
                }
                let (client, event_loop) = AsyncClient::new(options, 10);
                let mut peer = Self {
                    client_id: client_id.to_owned(),
                    client,
                    event_loop,
                    early: VecDeque::new(),
                };
                peer.until("CONNACK", |event| match event {
                    Event::Incoming(Incoming::ConnAck(_)) => Some(()),
                    _ => None,
                })
                .await;
                peer
            }

            async fn subscribe(&mut self, filter: &str, qos: u8) {
                self.client
                    .subscribe(filter, level(qos))
                    .await
                    .expect("the event loop takes a SUBSCRIBE");
                let granted = self
                    .until("SUBACK", |event| match event {
                        Event::Incoming(Incoming::SubAck(suback)) => {
                            Some(suback.return_codes.clone())
                        }
                        _ => None,
                    })
                    .await;
                assert_eq!(granted, [SubscribeReasonCode::Success(level(qos))]);
            }

            async fn publish(&mut self, message: &Message) {
                let qos = message.qos;
                self.client
                    .publish(
                        message.topic.as_str(),
                        level(qos),
                        message.retain,
                        message.payload.clone(),
                    )
                    .await
                    .expect("the event loop takes a PUBLISH");
                self.until("the message to be taken", |event| match (qos, event) {
                    (0, Event::Outgoing(Outgoing::Publish(_)))
                    | (1, Event::Incoming(Incoming::PubAck(_)))
                    | (2, Event::Incoming(Incoming::PubComp(_))) => Some(()),
                    _ => None,
                })
                .await;
            }

            async fn next_message(&mut self) -> Message {
                loop {
                    if let Some(message) = self.early.pop_front() {
                        return message;
                    }
                    self.until("a message", |event| match event {
                        Event::Incoming(Incoming::Publish(_)) => Some(()),
                        _ => None,
                    })
                    .await;
                }
            }

            async fn disconnect(mut self) {
                self.client
                    .disconnect()
                    .await
                    .expect("the event loop takes a DISCONNECT");
                self.until("DISCONNECT to be sent", |event| match event {
                    Event::Outgoing(Outgoing::Disconnect) => Some(()),
                    _ => None,
                })
                .await;
            }

            fn break_off(self) {
                drop(self.event_loop);
            }
        }

        fn level(qos: u8) -> QoS {
            match qos {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            }
        }
    };
}

/// MQTT 3.1.1.
pub(crate) mod v4 {
    use std::collections::VecDeque;

    use rumqttc::{
        AsyncClient, Event, EventLoop, Incoming, LastWill, MqttOptions, Outgoing, Publish, QoS,
        SubscribeReasonCode,
    };

    use super::{Message, Peer, WAIT};

    client!();

    fn message(publish: &Publish) -> Message {
        Message {
            topic: publish.topic.clone(),
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
        }
    }

    fn last_will(will: Message) -> LastWill {
        LastWill::new(will.topic, will.payload, level(will.qos), will.retain)
    }
}

/// MQTT 5.0.
pub(crate) mod v5 {
    use std::collections::VecDeque;

    use rumqttc::Outgoing;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{LastWill, Publish, SubscribeReasonCode};
    use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};

    use super::{Message, Peer, WAIT};

    client!();

    fn message(publish: &Publish) -> Message {
        Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
        }
    }

    fn last_will(will: Message) -> LastWill {
        LastWill::new(will.topic, will.payload, level(will.qos), will.retain, None)
    }
}
