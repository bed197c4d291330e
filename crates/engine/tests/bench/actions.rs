//! What clients do. Everything runs on until nothing moves, but for `push`.

use std::sync::Arc;

use dunlin_engine::{Input, Principal, partition_of, worker_of};
use dunlin_packet::{
    Decoded, Disconnect, Packet, PacketId, PacketType, PropertiesBuf, Property, ReasonCode,
    Subscribe, SubscribeBody, SubscriptionOptions, Unsubscribe, UnsubscribeBody, decode_connect,
};

use super::client::{At, Client, Transport};
use super::cluster::Cluster;
use super::packets::{Hello, Message, ack};

impl Cluster {
    /// A new Network Connection with this CONNECT, on the worker of its Client Identifier.
    pub(crate) fn connect(&mut self, hello: &Hello) -> At {
        let id = hello.client_id.as_bytes();
        let worker = match id {
            [] => hello.worker,
            _ => worker_of(partition_of(id), self.workers),
        };
        let worker = usize::from(worker);
        let bytes = hello.bytes();
        let key = self.engines[worker].open(Arc::clone(&self.offer));
        let at = self.clients.len();
        self.clients.push(Client::new(hello, worker, key));
        self.by_key.insert((worker, key), at);
        let Ok(Decoded::Packet {
            packet: Packet::Connect(connect),
            len,
        }) = decode_connect(&bytes, u32::MAX)
        else {
            panic!("what {} begins with is no CONNECT", hello.client_id);
        };
        let principal = Principal {
            user_name: hello.user.as_deref().map(Arc::from),
            address: Arc::from("bench"),
        };
        self.random += 1;
        let input = Input::Connect {
            connection: key,
            connect: &connect,
            principal,
            random: self.random,
        };
        self.engines[worker].handle(input, self.now);
        self.clients[at].push_bytes(&bytes[len..]);
        self.run();
        At(at)
    }

    /// 5.0, Clean Start, a Session that ends with its connection.
    pub(crate) fn v5(&mut self, id: &str) -> At {
        self.connect(&Hello::v5(id))
    }

    /// 3.1.1 with Clean Session.
    pub(crate) fn v311(&mut self, id: &str) -> At {
        self.connect(&Hello::v311(id))
    }

    /// 3.1 with Clean Session.
    pub(crate) fn v31(&mut self, id: &str) -> At {
        self.connect(&Hello::v31(id))
    }

    /// 5.0, goes on with its Session, which is kept for an hour.
    pub(crate) fn kept(&mut self, id: &str) -> At {
        self.connect(&Hello::v5(id).kept(3600))
    }

    /// A Session that is kept, has a Subscription, and is away.
    pub(crate) fn away(&mut self, id: &str, filter: &str, options: u8) {
        let at = self.kept(id);
        self.subscribe(at, filter, options);
        self.lose(at);
    }

    /// Sends a packet, and lets nothing happen yet.
    pub(crate) fn push(&mut self, at: At, packet: &Packet<'_>) {
        self.client(at).push(packet);
    }

    pub(crate) fn send(&mut self, at: At, packet: &Packet<'_>) {
        self.push(at, packet);
        self.run();
    }

    pub(crate) fn send_bytes(&mut self, at: At, bytes: &[u8]) {
        self.client(at).push_bytes(bytes);
        self.run();
    }

    /// Publishes, and lets nothing happen yet. Returns the Packet Identifier, 0 at QoS 0.
    pub(crate) fn push_message(&mut self, at: At, message: &Message) -> u16 {
        let client = self.client(at);
        let id = match (message.qos.bits(), message.packet_id) {
            (0, _) => 0,
            (_, 0) => client.next_id(),
            (_, id) => id,
        };
        client.push(&message.packet(id));
        id
    }

    pub(crate) fn publish_with(&mut self, at: At, message: &Message) -> u16 {
        let id = self.push_message(at, message);
        self.run();
        id
    }

    pub(crate) fn publish(
        &mut self,
        at: At,
        topic: &str,
        payload: impl AsRef<[u8]>,
        qos: u8,
    ) -> u16 {
        self.publish_with(at, &Message::new(topic, payload, qos))
    }

    /// Publishes with RETAIN.
    pub(crate) fn retain(
        &mut self,
        at: At,
        topic: &str,
        payload: impl AsRef<[u8]>,
        qos: u8,
    ) -> u16 {
        self.publish_with(at, &Message::new(topic, payload, qos).retain())
    }

    /// Subscribes with options as on the wire. Returns the Packet Identifier.
    pub(crate) fn subscribe(&mut self, at: At, filter: &str, options: u8) -> u16 {
        self.subscribe_all(at, &[(filter, options)], 0)
    }

    /// Subscribes with a Subscription Identifier; 0 is none.
    pub(crate) fn subscribe_as(
        &mut self,
        at: At,
        filter: &str,
        options: u8,
        identifier: u32,
    ) -> u16 {
        self.subscribe_all(at, &[(filter, options)], identifier)
    }

    /// Subscribes to all of these with one packet.
    pub(crate) fn subscribe_all(&mut self, at: At, filters: &[(&str, u8)], identifier: u32) -> u16 {
        let id = self.client(at).next_id();
        let mut body = SubscribeBody::new();
        for (filter, options) in filters {
            body.push(filter, SubscriptionOptions::from_byte(*options).unwrap());
        }
        let mut properties = PropertiesBuf::new();
        if identifier != 0 {
            properties.push(Property::SubscriptionIdentifier(identifier));
        }
        let subscribe = Subscribe::from_body(
            PacketId::new(id).unwrap(),
            properties.as_properties(),
            body.as_bytes(),
        );
        self.send(at, &Packet::Subscribe(subscribe));
        id
    }

    pub(crate) fn unsubscribe(&mut self, at: At, filter: &str) -> u16 {
        self.unsubscribe_all(at, &[filter])
    }

    pub(crate) fn unsubscribe_all(&mut self, at: At, filters: &[&str]) -> u16 {
        let id = self.client(at).next_id();
        let mut body = UnsubscribeBody::new();
        filters.iter().for_each(|filter| body.push(filter));
        let properties = PropertiesBuf::new();
        let unsubscribe = Unsubscribe::from_body(
            PacketId::new(id).unwrap(),
            properties.as_properties(),
            body.as_bytes(),
        );
        self.send(at, &Packet::Unsubscribe(unsubscribe));
        id
    }

    pub(crate) fn puback(&mut self, at: At, id: u16) {
        self.acknowledge(at, PacketType::Puback, id, ReasonCode::Success);
    }

    pub(crate) fn pubrec(&mut self, at: At, id: u16) {
        self.acknowledge(at, PacketType::Pubrec, id, ReasonCode::Success);
    }

    pub(crate) fn pubrel(&mut self, at: At, id: u16) {
        self.acknowledge(at, PacketType::Pubrel, id, ReasonCode::Success);
    }

    pub(crate) fn pubcomp(&mut self, at: At, id: u16) {
        self.acknowledge(at, PacketType::Pubcomp, id, ReasonCode::Success);
    }

    /// PUBACK or PUBREC that says no.
    pub(crate) fn refuse(&mut self, at: At, packet_type: PacketType, id: u16) {
        self.acknowledge(at, packet_type, id, ReasonCode::UnspecifiedError);
    }

    fn acknowledge(&mut self, at: At, packet_type: PacketType, id: u16, reason: ReasonCode) {
        self.send(at, &ack(packet_type, id, reason));
    }

    pub(crate) fn ping(&mut self, at: At) {
        self.send(at, &Packet::Pingreq);
    }

    /// DISCONNECT 0x00.
    pub(crate) fn disconnect(&mut self, at: At) {
        self.disconnect_with(at, ReasonCode::NormalDisconnection, None);
    }

    /// DISCONNECT with a Reason Code and, where there is one, a new Session Expiry Interval.
    pub(crate) fn disconnect_with(&mut self, at: At, reason: ReasonCode, expiry_s: Option<u32>) {
        let mut properties = PropertiesBuf::new();
        if let Some(seconds) = expiry_s {
            properties.push(Property::SessionExpiryInterval(seconds));
        }
        let disconnect = Disconnect {
            reason,
            properties: properties.as_properties(),
        };
        self.send(at, &Packet::Disconnect(disconnect));
    }

    /// The transport breaks; what the engine has not read is lost.
    pub(crate) fn lose(&mut self, at: At) {
        let client = self.client(at);
        client.transport = Transport::Closed;
        client.unread.clear();
        let (worker, connection) = (client.worker, client.key);
        self.engines[worker].handle(Input::Closed { connection }, self.now);
        self.run();
    }

    /// From now on the client acknowledges nothing by itself.
    pub(crate) fn silence(&mut self, at: At) {
        self.client(at).acknowledges = false;
    }

    /// From now on the client reads nothing, but for `read`.
    pub(crate) fn stick(&mut self, at: At) {
        self.client(at).reads = false;
    }

    /// A client that was stuck reads again.
    pub(crate) fn unstick(&mut self, at: At) {
        self.client(at).reads = true;
        self.run();
    }

    /// A client that is stuck reads so many bytes. Returns how many there were.
    pub(crate) fn read(&mut self, at: At, bytes: usize) -> usize {
        let before = self.client(at).bytes_read;
        self.write(at.0, bytes);
        self.run();
        self.client(at).bytes_read - before
    }
}
