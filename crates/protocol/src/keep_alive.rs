//! Keep Alive: how long a silent Network Connection lives.

use crate::time::Timestamp;

/// The instant after which a connection that was last heard of at `last_seen` is dead, or `None`
/// when Keep Alive is switched off.
///
/// One and a half times the Keep Alive: v5[MQTT-3.1.2-22], v311[MQTT-3.1.2-24].
#[must_use]
pub fn deadline(last_seen: Timestamp, keep_alive_s: u16) -> Option<Timestamp> {
    (keep_alive_s != 0).then(|| last_seen + u64::from(keep_alive_s) * 1500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_a_half_times_the_keep_alive() {
        let seen = Timestamp::from_millis(10_000);
        assert_eq!(deadline(seen, 5), Some(Timestamp::from_millis(17_500)));
        assert_eq!(
            deadline(seen, u16::MAX),
            Some(Timestamp::from_millis(10_000 + 98_302_500))
        );
    }

    #[test]
    fn zero_switches_it_off() {
        assert_eq!(deadline(Timestamp::from_millis(1), 0), None);
    }
}
