//! Plain counters of one worker, summed on demand.

/// Why a message was discarded instead of delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The Session's queue was at a bound.
    QueueFull,
    /// QoS 0 for a Session without connection.
    Offline,
    /// Its Message Expiry Interval passed.
    Expired,
    /// Larger than the client's Maximum Packet Size.
    TooLarge,
    /// The publisher may not publish it, or the subscriber not read it.
    NotAuthorized,
    /// The Session ended with the message in its queue.
    SessionEnded,
    /// The client refused it with 0x80 or more.
    Refused,
    /// A Shared Subscription without any member to wait for.
    NoMember,
    /// The payload is above `message_size_limit`.
    SizeLimit,
}

impl DropReason {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 9] = [
        Self::QueueFull,
        Self::Offline,
        Self::Expired,
        Self::TooLarge,
        Self::NotAuthorized,
        Self::SessionEnded,
        Self::Refused,
        Self::NoMember,
        Self::SizeLimit,
    ];

    /// In words, for logs.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::QueueFull => "its queue is full",
            Self::Offline => "QoS 0 while it is away",
            Self::Expired => "expired",
            Self::TooLarge => "larger than its maximum packet size",
            Self::NotAuthorized => "not authorized",
            Self::SessionEnded => "its session ended",
            Self::Refused => "refused by the client",
            Self::NoMember => "no member of the shared subscription",
            Self::SizeLimit => "above message_size_limit",
        }
    }
}

/// What one worker has counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// PUBLISH packets received.
    pub publish_received: u64,
    /// PUBLISH packets put into an outgoing buffer.
    pub publish_sent: u64,
    /// Messages discarded, by [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Topic Names found in the cache of resolved topics.
    pub route_cache_hits: u64,
    /// Topic Names that had to be resolved.
    pub route_cache_misses: u64,
    /// Sessions in memory.
    pub sessions: u64,
    /// Network Connections with a Session.
    pub connections: u64,
    /// Retained messages held.
    pub retained: u64,
    /// Batches given to the store.
    pub batches: u64,
}

impl Metrics {
    /// Counts one discarded message.
    pub fn drop(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// How many were discarded for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }
}
