//! `witness NAME TICKTIME PEERS SINKS PERIOD`: a Krarup node that watches others, in a process of its own,
//! so that it can be killed and run in a network namespace.

use std::error::Error;

use krarup_tests::{WitnessConfig, run_witness};

fn main() -> Result<(), Box<dyn Error>> {
    let config = WitnessConfig::from_arguments(std::env::args().skip(1))
        .ok_or("usage: witness NAME TICKTIME PEERS SINKS PERIOD")?;
    run_witness(&config)
}
