//! What a client keeps between its Network Connections: messages that nobody has confirmed, requests
//! without an answer, and the QoS 2 messages that it has received (v5[MQTT-4.1.0-1]).
//!
//! One rising sequence numbers messages above QoS 0 and requests alike, and a Packet Identifier is a
//! function of it. Two that are open at the same time are never 65,535 or more apart.

use std::collections::VecDeque;

use dunlin_packet::{
    PropertiesBuf, QoS, SharedFilter, SubscribeBody, SubscriptionOptions, TopicFilter, TopicName,
    UnsubscribeBody,
};

use super::error::UseError;
use crate::inbound::Inbound;
use crate::outbound::Outbound;

/// How many Packet Identifiers there are.
const PACKET_IDS: u64 = 65_535;

/// A message that a client publishes.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Its Topic Name.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its QoS.
    pub qos: QoS,
    /// Whether the Server keeps it for later Subscriptions.
    pub retain: bool,
    /// Its properties (5.0).
    pub properties: PropertiesBuf,
}

impl OutgoingMessage {
    /// A message without RETAIN and without properties.
    #[must_use]
    pub fn new(topic: &str, payload: &[u8], qos: QoS) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            qos,
            retain: false,
            properties: PropertiesBuf::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), UseError> {
        TopicName::new(&self.topic)?;
        Ok(())
    }

    /// What it counts for in a limit of bytes.
    pub(super) fn bytes(&self) -> u32 {
        let bytes = self.topic.len() + self.payload.len() + self.properties.len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// The client's side of a Session. It belongs to one Client Identifier.
#[derive(Default)]
pub struct ClientSession {
    pub(super) outbound: Outbound<OutgoingMessage>,
    pub(super) inbound: Inbound,
    /// Messages not sent yet, in the order of their sequences.
    pub(super) waiting: VecDeque<Waiting>,
    /// SUBSCRIBE and UNSUBSCRIBE packets without an answer, in the order of their sequences.
    pub(super) requests: VecDeque<Request>,
    next_sequence: u64,
}

/// A message that waits for a connection or for the Server's quota.
pub(super) struct Waiting {
    /// `None` at QoS 0.
    pub(super) sequence: Option<u64>,
    pub(super) message: OutgoingMessage,
}

/// A SUBSCRIBE or UNSUBSCRIBE, kept until its answer comes.
pub(super) struct Request {
    pub(super) sequence: u64,
    pub(super) body: RequestBody,
    /// How many Topic Filters it has.
    pub(super) filters: usize,
    pub(super) properties: PropertiesBuf,
}

pub(super) enum RequestBody {
    Subscribe(SubscribeBody),
    Unsubscribe(UnsubscribeBody),
}

impl ClientSession {
    /// A Session of which neither side knows anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts a message to be sent once a connection is open. Returns its sequence, `None` at QoS 0.
    ///
    /// # Errors
    /// When the Topic Name is not valid.
    pub fn publish(&mut self, message: OutgoingMessage) -> Result<Option<u64>, UseError> {
        message.check()?;
        let sequence = (message.qos != QoS::AtMostOnce).then(|| self.take_sequence());
        self.waiting.push_back(Waiting { sequence, message });
        Ok(sequence)
    }

    /// Messages accepted and not sent yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Messages that were sent at QoS 1 or 2 and are not answered to the end.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.outbound.in_flight() as usize
    }

    /// Whether every message has been sent, and confirmed above QoS 0.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.in_flight() == 0
    }

    /// Forgets requests that were not answered, so that the next connection does not repeat them.
    pub fn forget_requests(&mut self) {
        self.requests.clear();
    }

    pub(super) fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// Whether the Packet Identifier of `sequence` is not in use by a request or by what is in flight.
    pub(super) fn is_id_free(&self, sequence: u64) -> bool {
        let oldest = self
            .outbound
            .iter()
            .next()
            .map(|in_flight| in_flight.sequence);
        let requests = self.requests.iter().map(|request| request.sequence);
        requests
            .chain(oldest)
            .all(|open| open.abs_diff(sequence) < PACKET_IDS)
    }

    /// Registers a request and gives it its sequence.
    pub(super) fn register(
        &mut self,
        body: RequestBody,
        filters: usize,
        properties: PropertiesBuf,
    ) -> Result<(), UseError> {
        if !self.is_id_free(self.next_sequence) {
            return Err(UseError::NoPacketId);
        }
        let sequence = self.take_sequence();
        self.requests.push_back(Request {
            sequence,
            body,
            filters,
            properties,
        });
        Ok(())
    }

    /// The Server has no Session State, so ours goes too (v5[MQTT-3.2.2-5]).
    ///
    /// What was open ends; a message that the Server has not taken begins anew, as a new message in
    /// the new Session. Returns the sequences of those that it had taken (PUBREC was there).
    pub(super) fn lose_state(&mut self) -> Vec<u64> {
        self.inbound = Inbound::default();
        let open: Vec<u64> = self
            .outbound
            .iter()
            .map(|in_flight| in_flight.sequence)
            .collect();
        let mut taken = Vec::new();
        for sequence in open.into_iter().rev() {
            match self.outbound.abandon(sequence) {
                Some(message) => self.waiting.push_front(Waiting {
                    sequence: Some(sequence),
                    message,
                }),
                None => taken.push(sequence),
            }
        }
        self.outbound = Outbound::default();
        taken.reverse();
        taken
    }
}

/// The body of SUBSCRIBE.
pub(super) fn subscribe_body(
    filters: &[(&str, SubscriptionOptions)],
) -> Result<RequestBody, UseError> {
    let mut body = SubscribeBody::new();
    for (filter, options) in filters {
        let shared = check_filter(filter)?;
        // v5[MQTT-3.8.3-4]
        if shared && options.no_local {
            return Err(UseError::NoLocalOnShared);
        }
        body.push(filter, *options);
    }
    Ok(RequestBody::Subscribe(body))
}

/// The body of UNSUBSCRIBE.
pub(super) fn unsubscribe_body(filters: &[&str]) -> Result<RequestBody, UseError> {
    let mut body = UnsubscribeBody::new();
    for filter in filters {
        check_filter(filter)?;
        body.push(filter);
    }
    Ok(RequestBody::Unsubscribe(body))
}

/// Checks a Topic Filter; true for that of a Shared Subscription.
fn check_filter(filter: &str) -> Result<bool, UseError> {
    if SharedFilter::parse(filter)?.is_some() {
        return Ok(true);
    }
    TopicFilter::new(filter)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use dunlin_packet::TopicError;

    use super::*;

    fn session(count: u64) -> ClientSession {
        let mut session = ClientSession::new();
        session.outbound.new_connection(20, 0);
        for n in 0..count {
            let message = OutgoingMessage::new("t", &[n as u8], QoS::ExactlyOnce);
            session.publish(message).unwrap();
            let waiting = session.waiting.pop_front().unwrap();
            session.outbound.sent(n, true, 1, waiting.message);
        }
        session
    }

    #[test]
    fn a_lost_session_starts_its_messages_anew_in_order() {
        let mut session = session(4);
        session
            .outbound
            .pubrec(crate::outbound::packet_id_of(1), false);
        assert_eq!(
            session.publish(OutgoingMessage::new("t", b"new", QoS::AtLeastOnce)),
            Ok(Some(4))
        );
        assert_eq!(session.lose_state(), [1]);
        let waiting: Vec<_> = session
            .waiting
            .iter()
            .map(|waiting| waiting.sequence)
            .collect();
        assert_eq!(waiting, [Some(0), Some(2), Some(3), Some(4)]);
        assert_eq!(session.in_flight(), 0);
        assert!(!session.is_settled());
    }

    #[test]
    fn packet_identifiers_of_open_exchanges_are_not_given_again() {
        let mut session = session(1);
        assert!(session.is_id_free(PACKET_IDS - 1));
        assert!(!session.is_id_free(PACKET_IDS));
        session.next_sequence = PACKET_IDS;
        let body = || unsubscribe_body(&["a"]).unwrap();
        assert_eq!(
            session.register(body(), 1, PropertiesBuf::new()),
            Err(UseError::NoPacketId)
        );
        session.lose_state();
        assert_eq!(session.register(body(), 1, PropertiesBuf::new()), Ok(()));
        assert!(!session.is_id_free(0));
        session.forget_requests();
        assert!(session.is_id_free(0));
    }

    #[test]
    fn topics_are_checked_before_anything_is_taken() {
        let mut session = ClientSession::new();
        let wild = OutgoingMessage::new("a/+", b"", QoS::AtLeastOnce);
        assert_eq!(
            session.publish(wild),
            Err(UseError::Topic(TopicError::WildcardInName))
        );
        assert!(session.is_settled());
        let options = |no_local| SubscriptionOptions {
            no_local,
            ..SubscriptionOptions::from_byte(0).unwrap()
        };
        assert!(subscribe_body(&[("a/#", options(true)), ("$share/g/a", options(false))]).is_ok());
        assert_eq!(
            subscribe_body(&[("$share/g/a", options(true))]).err(),
            Some(UseError::NoLocalOnShared)
        );
        let error = UseError::Topic(TopicError::MisplacedWildcard);
        assert_eq!(
            subscribe_body(&[("a/#/b", options(false))]).err(),
            Some(error)
        );
        assert_eq!(unsubscribe_body(&["a+"]).err(), Some(error));
    }
}
