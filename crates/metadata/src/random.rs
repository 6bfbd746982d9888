//! Randomness as an input.

/// A source of random numbers; in production seeded by the system, in tests by the test.
pub trait Random {
    /// 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// A number below `bound`, or 0 if that is 0. The bias of the remainder does not matter for
    /// spreading replicas.
    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::try_from(self.next_u64() >> 1).unwrap_or(0);
        bits.checked_rem(bound).unwrap_or(0)
    }

    /// A random id.
    fn uuid(&mut self) -> ottla_protocol::Uuid {
        let (high, low) = (self.next_u64(), self.next_u64());
        ottla_protocol::Uuid::from_random(
            ((u128::from(high) << 64) | u128::from(low)).to_be_bytes(),
        )
    }
}

/// SplitMix64: small, and the same everywhere for one seed. For tests and simulation.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl Random for SplitMix64 {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
