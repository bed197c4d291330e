//! Quality of Service levels.

/// How often an Application Message arrives: a promise between one sender and one receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: once or not at all.
    AtMostOnce = 0,
    /// QoS 1: once or more.
    AtLeastOnce = 1,
    /// QoS 2: once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of a number as it stands on the wire; `None` for 3 and above.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// The number that stands on the wire.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_levels_agree() {
        for bits in 0..=2 {
            assert_eq!(QoS::from_bits(bits).map(QoS::bits), Some(bits));
        }
        assert_eq!(QoS::from_bits(3), None);
        assert!(QoS::AtMostOnce < QoS::ExactlyOnce);
    }
}
