//! Three well-behaved clients, a stranger who sends any bytes, and the house between them, over
//! operations that the input chooses.
//!
//! At the end nothing is held back any more, everybody comes back, and what the broker took must have
//! arrived.

use std::sync::Arc;

use dunlin_engine::limits::{QueueFull, SharedStrategy};
use dunlin_engine::record::StoreError;
use dunlin_engine::{Access, Authorizer, Limits, Principal};
use dunlin_packet::{
    Connect, Decoded, Properties, PropertiesBuf, Property, ProtocolVersion, QoS, Rules, Sender,
    TopicName, Will, decode,
};
use dunlin_protocol::ServerOffer;

use crate::choices::Choices;
use crate::client::{Client, TOPICS, WILD, Wire};
use crate::house::{House, LinkId, Plan};
use crate::ledger::Ledger;

/// Of both workers' partitions where there are two.
const NAMES: [&str; 3] = ["fuzz-0", "fuzz-1", "fuzz-2"];
const STRANGER: &str = "stranger";

/// Longer inputs find nothing that shorter ones do not, and take their time.
const OPERATIONS_MAX: usize = 250;

/// At the end everybody answers so often before it must be quiet.
const ROUNDS_MAX: usize = 5_000;

/// Runs the operations of an input.
pub fn check(choices: &mut Choices<'_>) {
    let mut world = World::new(choices);
    for _ in 0..OPERATIONS_MAX {
        if choices.is_empty() {
            break;
        }
        world.step(choices);
        world.settle();
    }
    world.finish();
}

struct World {
    house: House,
    clients: Vec<Client>,
    ledger: Ledger,
    stranger: Option<Stranger>,
    /// Connections whose client has a newer one: what comes there is only decoded.
    former: Vec<Listener>,
    receive_maximum: u16,
    inflight_max: u16,
}

/// A connection whose packets must be readable, and nothing else.
struct Listener {
    link: LinkId,
    version: ProtocolVersion,
    buffer: Vec<u8>,
}

/// The stranger has no state of its own but the connection.
struct Stranger {
    connection: Option<Listener>,
}

/// Keeps the stranger's messages apart from those that are counted.
struct Guard;

impl Authorizer for Guard {
    fn allows(&self, _: &Principal, client_id: &str, access: Access, topic: &str) -> bool {
        client_id != STRANGER || access != Access::Write || topic.starts_with(WILD)
    }
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let (build, bounds) = (choices.byte(), choices.byte());
        let is_guarded = build & 16 != 0;
        let offer = ServerOffer {
            receive_maximum: [20, 1, 3, 20][usize::from(bounds & 3)],
            inflight_messages_max: [20, 1, 2, 20][usize::from((bounds >> 2) & 3)],
            ..ServerOffer::default()
        };
        let limits = Limits {
            queue_messages_max: [0, 1000, 1, 3][usize::from((bounds >> 4) & 3)],
            worker_queue_max: if bounds & 64 == 0 { 65_536 } else { 1 },
            outgoing_bytes_max: if bounds & 128 == 0 { 1 << 20 } else { 64 },
            ..chosen_limits(choices.byte())
        };
        let (receive_maximum, inflight_max) = (offer.receive_maximum, offer.inflight_messages_max);
        let house = House::new(Plan {
            workers: 1 + u16::from(build & 1),
            is_durable: build & 2 != 0,
            slow_mail: build & 4 != 0,
            slow_store: build & 8 != 0,
            chunk: [1 << 20, 1000, 50, 3][usize::from(build >> 6)],
            limits,
            offer,
            authorizer: is_guarded.then(|| Arc::new(Guard) as Arc<dyn Authorizer>),
        });
        let is_greedy = build & 32 != 0;
        let client = |(index, name): (usize, &'static str)| Client::new(name, index, is_greedy);
        Self {
            house,
            clients: NAMES.into_iter().enumerate().map(client).collect(),
            ledger: Ledger::default(),
            stranger: is_guarded.then_some(Stranger { connection: None }),
            former: Vec::new(),
            receive_maximum,
            inflight_max,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let operation = choices.below(18);
        let at = choices.below(NAMES.len());
        match operation {
            0 | 1 => self.connect(at, choices),
            2 => self.cut(at),
            3 => self.disconnect(at, choices),
            4 | 5 => self.act(at, |client| client.subscribe(choices)),
            6 => self.act(at, |client| client.unsubscribe(choices)),
            7..=9 => self.publish(at, choices),
            10 => {
                let which = choices.below(8);
                self.act(at, |client| client.answer(which));
            }
            11 => self.answer_all(at),
            12 => self.stall(at),
            13 => self.house.advance([1, 400, 1_000, 6_000][choices.below(4)]),
            14 => {
                self.house.deliver_mail(at & 1);
            }
            15 => self.answer_commit(choices),
            16 => self.stranger(choices),
            _ => {
                self.act(at, |client| client.repeat(choices));
                self.act(at, Client::ping);
            }
        }
    }

    /// What a client makes of what it has received is sent, if it is anything.
    fn act(&mut self, at: usize, action: impl FnOnce(&mut Client) -> Option<Vec<u8>>) {
        let client = &mut self.clients[at];
        if let Some(bytes) = action(client)
            && let Some(wire) = &client.wire
        {
            self.house.send(wire.link, &bytes);
        }
    }

    fn connect(&mut self, at: usize, choices: &mut Choices<'_>) {
        let (byte, more) = (choices.byte(), choices.byte());
        let version = if byte & 1 == 0 {
            ProtocolVersion::V5
        } else {
            ProtocolVersion::V311
        };
        let is_v5 = version.is_v5();
        let size_max = [u32::MAX, u32::MAX, 64, 10][usize::from((more >> 2) & 3)];
        let receive_maximum = [u16::MAX, 1, 3, u16::MAX][usize::from(more & 3)];
        let alias_maximum = [0, 2][usize::from((more >> 4) & 1)];
        let mut properties = PropertiesBuf::new();
        if is_v5 {
            properties.push(Property::SessionExpiryInterval(
                [0, u32::MAX, 5, u32::MAX][usize::from((byte >> 2) & 3)],
            ));
            properties.push(Property::ReceiveMaximum(receive_maximum));
            properties.push(Property::TopicAliasMaximum(alias_maximum));
            if size_max != u32::MAX {
                properties.push(Property::MaximumPacketSize(size_max));
            }
        }
        let mut will_properties = PropertiesBuf::new();
        if is_v5 && more & 64 != 0 {
            will_properties.push(Property::WillDelayInterval(2));
        }
        let will = (byte & 16 != 0).then(|| Will {
            topic: TopicName::new(TOPICS[0]).expect("a Topic Name"),
            payload: b"will",
            qos: QoS::from_bits(byte >> 6).unwrap_or(QoS::ExactlyOnce),
            retain: more & 32 != 0,
            properties: will_properties.as_properties(),
        });
        let connect = Connect {
            version,
            bridge: false,
            clean_start: byte & 2 != 0,
            keep_alive_s: u16::from(byte >> 5 & 1),
            client_id: NAMES[at],
            will,
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        };
        let (size_max, receive_maximum, alias_maximum) = if is_v5 {
            (size_max, receive_maximum, alias_maximum)
        } else {
            (u32::MAX, u16::MAX, 0)
        };
        let quota = receive_maximum.min(self.inflight_max);
        self.leave_behind(at);
        let link = self.house.connect(&connect);
        let clean_start = connect.clean_start;
        self.clients[at].attach(Wire::new(
            link,
            version,
            clean_start,
            size_max,
            quota,
            alias_maximum,
        ));
    }

    /// A client opens another connection: what the present one still brings is only decoded.
    fn leave_behind(&mut self, at: usize) {
        if let Some(wire) = &self.clients[at].wire {
            let (link, version) = (wire.link, wire.version());
            self.house.stall(link, false);
            // What has arrived was read after the last operation, up to an unfinished packet.
            let buffer = wire.unfinished().to_vec();
            self.former.push(Listener {
                link,
                version,
                buffer,
            });
        }
    }

    fn cut(&mut self, at: usize) {
        if let Some(wire) = &self.clients[at].wire {
            self.house.cut(wire.link);
        }
    }

    fn disconnect(&mut self, at: usize, choices: &mut Choices<'_>) {
        self.act(at, |client| client.disconnect(choices));
        self.settle();
        self.cut(at);
    }

    fn publish(&mut self, at: usize, choices: &mut Choices<'_>) {
        let published = self.clients[at].publish(choices, &mut self.ledger, self.receive_maximum);
        let Some(published) = published else { return };
        if let Some((number, true)) = published.message {
            for client in &mut self.clients {
                if client.wants(published.topic, client.index == at) {
                    client.awaits(number);
                }
            }
        }
        self.act(at, |_| Some(published.bytes));
    }

    fn answer_all(&mut self, at: usize) {
        while self.clients[at]
            .wire
            .as_ref()
            .is_some_and(|wire| !wire.owed.is_empty())
        {
            if !self.clients[at].is_online() {
                return;
            }
            self.act(at, |client| client.answer(0));
        }
    }

    fn stall(&mut self, at: usize) {
        if let Some(wire) = &self.clients[at].wire {
            let is_stalled = self.house.is_stalled(wire.link);
            self.house.stall(wire.link, !is_stalled);
        }
    }

    fn answer_commit(&mut self, choices: &mut Choices<'_>) {
        let at = choices.below(self.house.commits().clamp(1, 256));
        let result = match choices.below(8) {
            0 => Err(StoreError::Full),
            1 => Err(StoreError::Io),
            _ => Ok(()),
        };
        self.house.answer_commit(at, result);
    }

    /// The stranger connects, sends any bytes, or goes.
    fn stranger(&mut self, choices: &mut Choices<'_>) {
        let Some(stranger) = &mut self.stranger else {
            return;
        };
        let byte = choices.byte();
        let Some(connection) = &stranger.connection else {
            let versions = [
                ProtocolVersion::V31,
                ProtocolVersion::V311,
                ProtocolVersion::V5,
            ];
            let version = versions[usize::from(byte) % 3];
            let connect = Connect {
                version,
                bridge: false,
                clean_start: byte & 128 != 0,
                keep_alive_s: 0,
                client_id: STRANGER,
                will: None,
                user_name: None,
                password: None,
                properties: Properties::EMPTY,
            };
            let link = self.house.connect(&connect);
            let buffer = Vec::new();
            stranger.connection = Some(Listener {
                link,
                version,
                buffer,
            });
            return;
        };
        if byte == 0 {
            self.house.cut(connection.link);
        } else {
            let bytes = choices.take(usize::from(byte));
            self.house.send(connection.link, bytes);
        }
    }

    /// Runs the engines and lets everybody read, until nothing happens any more.
    fn settle(&mut self) {
        loop {
            self.house.settle();
            let mut is_busy = false;
            for at in 0..self.clients.len() {
                is_busy |= self.read(at);
            }
            self.former
                .retain_mut(|listener| listener.read(&mut self.house));
            if let Some(stranger) = &mut self.stranger
                && let Some(connection) = &mut stranger.connection
                && !connection.read(&mut self.house)
            {
                stranger.connection = None;
            }
            if !is_busy {
                return;
            }
        }
    }

    /// One client reads what has arrived. False if that is nothing.
    fn read(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let Some(link) = client.wire.as_ref().map(|wire| wire.link) else {
            return false;
        };
        let bytes = self.house.take(link);
        let answer = client.receive(&bytes, &mut self.ledger);
        if !self.house.is_open(link) {
            client.lost();
        } else if !answer.is_empty() {
            self.house.send(link, &answer);
        }
        !bytes.is_empty()
    }

    fn finish(mut self) {
        self.house.hurry();
        self.settle();
        for at in 0..self.clients.len() {
            if self.clients[at].wire.is_none() {
                // Version 5.0, neither Clean Start nor Will nor Keep Alive, and no limits.
                self.connect(at, &mut Choices::new(&[4, 0]));
            }
        }
        self.settle();
        for _ in 0..ROUNDS_MAX {
            if self.clients.iter().all(|client| !client.owes()) {
                break;
            }
            for at in 0..self.clients.len() {
                self.answer_all(at);
            }
            self.settle();
        }
        for client in &self.clients {
            assert!(!client.owes(), "{} is never done", client.name);
            client.check_end(&self.ledger, self.house.overfull.contains(client.name));
        }
    }
}

impl Listener {
    /// Reads what has arrived. False once the connection is gone.
    fn read(&mut self, house: &mut House) -> bool {
        self.buffer.extend(house.take(self.link));
        let rules = Rules {
            version: self.version,
            sender: Sender::Server,
            packet_size_max: u32::MAX,
        };
        let mut used = 0;
        loop {
            match decode(&self.buffer[used..], &rules) {
                Ok(Decoded::Packet { len, .. }) => used += len,
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("nobody can read the broker: {error}"),
            }
        }
        self.buffer.drain(..used);
        house.is_open(self.link)
    }
}

fn chosen_limits(byte: u8) -> Limits {
    let strategies = [
        SharedStrategy::RoundRobin,
        SharedStrategy::Sticky,
        SharedStrategy::LeastInFlight,
    ];
    Limits {
        queue_full: if byte & 1 == 0 {
            QueueFull::DropNewest
        } else {
            QueueFull::Reject
        },
        queue_qos0: byte & 2 != 0,
        inflight_bytes_max: if byte & 4 == 0 { 0 } else { 100 },
        receive_maximum_strict: byte & 8 != 0,
        retained_chunk: if byte & 16 == 0 { 128 } else { 1 },
        route_cache_bytes_max: if byte & 32 == 0 { 1 << 20 } else { 200 },
        shared_strategy: strategies[usize::from(byte >> 6) % 3],
        ..Limits::default()
    }
}
