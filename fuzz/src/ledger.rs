//! The messages that well-behaved clients have published, by number; the number is in the payload.

use dunlin_packet::QoS;

/// What every payload of a numbered message begins with.
const MARK: u8 = b'n';

/// One message as it was published.
#[derive(Clone, Debug)]
pub struct Message {
    /// Index of the client that published it.
    pub from: usize,
    /// Its Topic Name.
    pub topic: &'static str,
    /// QoS that it was published with.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// Message Expiry Interval, seconds.
    pub expiry_s: Option<u32>,
    /// The mark, the number, and zeros.
    pub payload: Vec<u8>,
    /// The broker has acknowledged it with success.
    pub is_accepted: bool,
}

/// All of them, in the order in which they were published.
#[derive(Default)]
pub struct Ledger {
    /// By number.
    pub messages: Vec<Message>,
}

impl Ledger {
    /// The payload of the next message, of at least five bytes.
    pub fn next_payload(&self, len: usize) -> Vec<u8> {
        let mut payload = vec![MARK];
        payload.extend_from_slice(&(self.messages.len() as u32).to_be_bytes());
        payload.resize(len.max(payload.len()), 0);
        payload
    }

    /// The number of a message with this payload.
    pub fn number(&self, payload: &[u8]) -> Option<usize> {
        let [MARK, one, two, three, four, ..] = *payload else {
            return None;
        };
        let number = u32::from_be_bytes([one, two, three, four]) as usize;
        (number < self.messages.len()).then_some(number)
    }
}
