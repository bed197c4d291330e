//! Who is meant by an entry of the index, and what was granted. Plain values: the state behind them lives with the
//! partition that they name.

/// One Session, as long as it lives. `serial` tells apart two Sessions that had the same slot one after the other.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct SessionKey {
    /// The partition that owns the Session.
    pub partition: u16,
    /// Its place in that partition; used again after the Session has ended.
    pub slot: u32,
    /// Differs between Sessions that shared a slot.
    pub serial: u32,
}

/// The Subscription Options that matter for routing, as granted.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Grant {
    /// The granted QoS, 0 to 2.
    pub qos: u8,
    /// No Local: messages of this very Session are not sent back to it.
    pub no_local: bool,
    /// Retain As Published: the RETAIN flag is passed on as it came.
    pub retain_as_published: bool,
    /// The Subscription Identifier; 0 for none.
    pub subscription_id: u32,
}

/// One Shared Subscription. Its members are kept by its partition.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct GroupKey {
    /// The partition that chooses the receiver.
    pub partition: u16,
    /// Its place in that partition.
    pub slot: u32,
}
