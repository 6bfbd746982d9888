//! Seeds of the simulation.

use ottla_sim::{Options, run};

#[test]
fn a_seed_gives_the_same_events_again() {
    for seed in 0..4 {
        let (first, again) = (run(seed, &Options::default()), run(seed, &Options::default()));
        assert_eq!(first, again, "seed {seed}");
    }
}
