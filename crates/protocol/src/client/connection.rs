//! The Client role's machine: commands in, bytes out, and the two things that time does to it.
//!
//! ```text
//!   New ──connect──▶ AwaitConnack ──CONNACK 0x00──▶ Open ──┐ disconnect, DISCONNECT, an error
//!                          └── refusal, error, silence ─────┴──▶ Closed
//! ```
//!
//! What the Server's packets do stands in `receive`.

use std::collections::VecDeque;

use dunlin_packet::{
    Disconnect, Packet, PacketId, Properties, PropertiesBuf, QoS, ReasonCode, SubscriptionOptions,
};

use super::error::{ClientError, ServerFault, Silence, UseError};
use super::event::Event;
use super::options::ConnectOptions;
use super::outgoing::{Outgoing, Reply};
use super::session::{ClientSession, OutgoingMessage, Waiting, subscribe_body, unsubscribe_body};
use super::terms::ServerTerms;
use crate::aliases::InboundAliases;
use crate::outbound::packet_id_of;
use crate::time::Timestamp;

/// One Network Connection of a client, from CONNECT to its end, with the Session that it serves.
pub struct ClientConnection {
    pub(super) options: ConnectOptions,
    pub(super) session: ClientSession,
    pub(super) phase: Phase,
    /// What was agreed; the defaults until CONNACK is there.
    pub(super) terms: ServerTerms,
    pub(super) aliases: InboundAliases,
    pub(super) outgoing: Outgoing,
    pub(super) events: VecDeque<Event>,
    pub(super) last_received: Timestamp,
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// CONNECT is not sent.
    New,
    /// CONNECT is sent.
    AwaitConnack {
        /// When.
        since: Timestamp,
    },
    /// CONNACK is there.
    Open {
        /// When the oldest PINGREQ without PINGRESP was sent.
        ping_sent: Option<Timestamp>,
    },
    /// Nothing is sent any more, and what arrives counts for nothing.
    Closed,
}

impl ClientConnection {
    /// A connection that has not sent anything. `session` is a new one, or that of the connection before.
    #[must_use]
    pub fn new(options: ConnectOptions, session: ClientSession) -> Self {
        Self {
            phase: Phase::New,
            terms: ServerTerms::unanswered(&options),
            aliases: InboundAliases::default(),
            outgoing: Outgoing::new(options.version),
            events: VecDeque::new(),
            last_received: Timestamp::default(),
            options,
            session,
        }
    }

    /// Sends CONNECT.
    ///
    /// # Errors
    /// When the options have no form on the wire, or CONNECT was sent before.
    pub fn connect(&mut self, now: Timestamp) -> Result<(), UseError> {
        if self.phase != Phase::New {
            return Err(UseError::AlreadyConnected);
        }
        self.options.put_connect(&mut self.outgoing.bytes)?;
        self.outgoing.last_sent = now;
        self.last_received = now;
        self.phase = Phase::AwaitConnack { since: now };
        Ok(())
    }

    /// The bytes to be written. The caller takes out what it has written.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing.bytes
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Publishes a message now, or once the Server's quota and the order of messages allow.
    /// Returns the sequence that `Event::Published` will name, `None` at QoS 0.
    ///
    /// # Errors
    /// When the Topic Name is not valid.
    pub fn publish(
        &mut self,
        message: OutgoingMessage,
        now: Timestamp,
    ) -> Result<Option<u64>, UseError> {
        if self.is_open() && message.qos == QoS::AtMostOnce {
            message.check()?;
            self.send_unconfirmed(&message, now);
            return Ok(None);
        }
        let sequence = self.session.publish(message)?;
        self.pump(now);
        Ok(sequence)
    }

    /// Sends SUBSCRIBE. It is repeated on the next connection if this one ends before SUBACK.
    ///
    /// # Errors
    /// When the connection is not open, a Topic Filter is not valid or the packet is too large.
    pub fn subscribe(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        properties: PropertiesBuf,
        now: Timestamp,
    ) -> Result<PacketId, UseError> {
        self.check_open()?;
        let body = subscribe_body(filters)?;
        self.session.register(body, filters.len(), properties)?;
        self.send_last_request(now)
    }

    /// Sends UNSUBSCRIBE. It is repeated on the next connection if this one ends before UNSUBACK.
    ///
    /// # Errors
    /// When the connection is not open, a Topic Filter is not valid or the packet is too large.
    pub fn unsubscribe(&mut self, filters: &[&str], now: Timestamp) -> Result<PacketId, UseError> {
        self.check_open()?;
        let body = unsubscribe_body(filters)?;
        self.session
            .register(body, filters.len(), PropertiesBuf::new())?;
        self.send_last_request(now)
    }

    /// Sends PINGREQ; `Event::Pong` is its answer.
    ///
    /// # Errors
    /// When the connection is not open.
    pub fn ping(&mut self, now: Timestamp) -> Result<(), UseError> {
        let Phase::Open { ping_sent } = self.phase else {
            return Err(UseError::NotConnected);
        };
        self.outgoing.put(&Packet::Pingreq, now)?;
        self.phase = Phase::Open {
            ping_sent: ping_sent.or(Some(now)),
        };
        Ok(())
    }

    /// Sends DISCONNECT and closes the connection: write what is outgoing, then close the stream.
    /// 3.x carries no Reason Code, so there the Will is always removed.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        if self.is_open() {
            self.put_disconnect(reason);
        }
        self.phase = Phase::Closed;
    }

    /// Whether CONNACK is there and the connection has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether the connection is over, so that its stream has to be closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// What was agreed with the Server; the defaults until CONNACK is there.
    #[must_use]
    pub fn terms(&self) -> &ServerTerms {
        &self.terms
    }

    /// The Session that this connection serves.
    #[must_use]
    pub fn session(&self) -> &ClientSession {
        &self.session
    }

    /// Ends this connection's work and gives the Session back for the next one.
    #[must_use]
    pub fn into_session(self) -> ClientSession {
        self.session
    }

    /// When `handle_timeout` has to be called, if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::New | Phase::Closed => None,
            Phase::AwaitConnack { since } => {
                let seconds = self.options.connack_timeout_s;
                (seconds != 0).then(|| since.plus_seconds(u64::from(seconds)))
            }
            Phase::Open { ping_sent } => {
                let send_at = self.after_keep_alive(self.outgoing.last_sent)?;
                let other = match ping_sent {
                    Some(at) => at.max(self.last_received),
                    None => self.last_received,
                };
                self.after_keep_alive(other).map(|other| other.min(send_at))
            }
        }
    }

    /// Does what is due at `now`: sends PINGREQ, or finds the Server dead.
    ///
    /// # Errors
    /// When the Server has been silent for too long; the connection is closed.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Result<(), ClientError> {
        if self.next_timeout().is_none_or(|due| now < due) {
            return Ok(());
        }
        match self.phase {
            Phase::New | Phase::Closed => Ok(()),
            Phase::AwaitConnack { .. } => {
                self.phase = Phase::Closed;
                Err(ClientError::Silent(Silence::NoConnack))
            }
            Phase::Open {
                ping_sent: Some(at),
            } if self.is_dead(at, now) => {
                self.phase = Phase::Closed;
                Err(ClientError::Silent(Silence::NoPingresp))
            }
            Phase::Open { ping_sent } => {
                // v5[MQTT-3.1.2-20]
                if self.outgoing.put(&Packet::Pingreq, now).is_err() {
                    self.phase = Phase::Closed;
                    return Err(ServerFault::MaximumPacketSize.into());
                }
                self.phase = Phase::Open {
                    ping_sent: ping_sent.or(Some(now)),
                };
                Ok(())
            }
        }
    }

    /// A Keep Alive after `instant`; `None` when there is no Keep Alive.
    fn after_keep_alive(&self, instant: Timestamp) -> Option<Timestamp> {
        let seconds = self.terms.keep_alive_s;
        (seconds != 0).then(|| instant.plus_seconds(u64::from(seconds)))
    }

    fn is_dead(&self, ping_sent: Timestamp, now: Timestamp) -> bool {
        self.after_keep_alive(ping_sent.max(self.last_received))
            .is_some_and(|due| now >= due)
    }

    fn check_open(&self) -> Result<(), UseError> {
        if self.is_open() {
            Ok(())
        } else {
            Err(UseError::NotConnected)
        }
    }

    pub(super) fn put_disconnect(&mut self, reason: ReasonCode) {
        let packet = Packet::Disconnect(Disconnect {
            reason,
            properties: Properties::EMPTY,
        });
        let now = self.outgoing.last_sent;
        // A Server that does not take so small a packet gets the end of the stream alone.
        let _written = self.outgoing.put(&packet, now);
    }

    /// Sends the request that was registered last, or takes it back.
    fn send_last_request(&mut self, now: Timestamp) -> Result<PacketId, UseError> {
        let Some(request) = self.session.requests.back() else {
            return Err(UseError::NotConnected);
        };
        let packet_id = packet_id_of(request.sequence);
        let sent = self.outgoing.request(request, now);
        if sent.is_err() {
            self.session.requests.pop_back();
        }
        sent?;
        Ok(packet_id)
    }

    /// Sends a QoS 0 message, if the Server's terms allow it.
    pub(super) fn send_unconfirmed(&mut self, message: &OutgoingMessage, now: Timestamp) {
        let reason = self.ruled_out(message);
        let sent = reason.is_none() && self.outgoing.publish(message, None, false, now).is_ok();
        if !sent {
            let reason = reason.unwrap_or(ReasonCode::PacketTooLarge);
            self.events.push_back(Event::NotSent {
                sequence: None,
                reason,
            });
        }
    }

    /// Sends what the quota allows: first what an earlier connection left open, then what waits.
    pub(super) fn pump(&mut self, now: Timestamp) {
        if !self.is_open() {
            return;
        }
        self.resend(now);
        while let Some(next) = self.session.waiting.front() {
            let reason = self.ruled_out(&next.message);
            let bytes = next.message.bytes();
            let may_send = next.sequence.is_none_or(|sequence| {
                self.session.outbound.may_send(sequence, bytes) && self.session.is_id_free(sequence)
            });
            if reason.is_none() && !may_send {
                return;
            }
            let Some(Waiting { sequence, message }) = self.session.waiting.pop_front() else {
                return;
            };
            self.send_waiting(sequence, message, reason, now);
        }
    }

    fn send_waiting(
        &mut self,
        sequence: Option<u64>,
        message: OutgoingMessage,
        ruled_out: Option<ReasonCode>,
        now: Timestamp,
    ) {
        let packet_id = sequence.map(packet_id_of);
        let sent = ruled_out.is_none()
            && self
                .outgoing
                .publish(&message, packet_id, false, now)
                .is_ok();
        if !sent {
            let reason = ruled_out.unwrap_or(ReasonCode::PacketTooLarge);
            self.events.push_back(Event::NotSent { sequence, reason });
        } else if let Some(sequence) = sequence {
            let (qos2, bytes) = (message.qos == QoS::ExactlyOnce, message.bytes());
            self.session.outbound.sent(sequence, qos2, bytes, message);
        }
    }

    /// Sends again what an earlier connection left open, in its order and as far as the quota
    /// allows: PUBLISH with DUP, or PUBREL (v5[MQTT-4.4.0-1], v5[MQTT-4.6.0-1]).
    fn resend(&mut self, now: Timestamp) {
        while let Some(in_flight) = self.session.outbound.next_resend() {
            let sequence = in_flight.sequence;
            let packet_id = packet_id_of(sequence);
            let (sent, released) = match &in_flight.message {
                // v5[MQTT-3.3.1-1]
                Some(message) => (
                    self.outgoing
                        .publish(message, Some(packet_id), true, now)
                        .is_ok(),
                    false,
                ),
                None => (
                    self.outgoing
                        .reply(Reply::Pubrel, packet_id, ReasonCode::Success, now)
                        .is_ok(),
                    true,
                ),
            };
            if released && sent {
                self.session.outbound.pubrel_sent(sequence);
            }
            if !sent {
                self.session.outbound.abandon(sequence);
                let reason = ReasonCode::PacketTooLarge;
                self.events.push_back(Event::NotSent {
                    sequence: Some(sequence),
                    reason,
                });
            }
        }
    }

    /// Why the Server's terms forbid this message, its size aside.
    fn ruled_out(&self, message: &OutgoingMessage) -> Option<ReasonCode> {
        if message.qos > self.terms.maximum_qos {
            // v5[MQTT-3.2.2-11]
            return Some(ReasonCode::QoSNotSupported);
        }
        // v5[MQTT-3.2.2-14]
        (message.retain && !self.terms.retain_available).then_some(ReasonCode::RetainNotSupported)
    }
}
