//! Partitions: who owns what.

/// How many partitions there are, for ever: durable records are keyed by them.
pub const PARTITIONS: u16 = 1024;

/// The partition of a name (a Client Identifier, a Topic Name, a Shared Subscription).
///
/// A stable hash (FNV-1a, 64 bits, folded), since it is part of the data format: it must not change
/// between versions and machines, and needs no secret, for a peer that floods one partition gains nothing
/// that it could not have by flooding one client id.
#[must_use]
pub fn partition_of(name: &[u8]) -> u16 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let folded = hash ^ (hash >> 32);
    (folded % u64::from(PARTITIONS)) as u16
}

/// The worker that owns a partition, among `workers`.
#[must_use]
#[inline]
pub fn worker_of(partition: u16, workers: u16) -> u16 {
    if workers <= 1 { 0 } else { partition % workers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let known = ["", "a", "sensor-1"];
        for name in known {
            assert!(partition_of(name.as_bytes()) < PARTITIONS);
        }
        assert_ne!(partition_of(b"a"), partition_of(b"b"));
    }

    #[test]
    fn names_spread_over_all_partitions() {
        let mut seen = vec![0u32; usize::from(PARTITIONS)];
        for n in 0..100_000 {
            seen[usize::from(partition_of(format!("client-{n}").as_bytes()))] += 1;
        }
        assert!(
            seen.iter().all(|count| (40..200).contains(count)),
            "{seen:?}"
        );
    }
}
