//! Sessions: the state machines against plain models, and whole engines with clients that know what
//! they may expect. The first byte chooses which.

#![no_main]

use dunlin_fuzz::choices::Choices;
use dunlin_fuzz::{machines, world};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    match choices.below(8) {
        0 => machines::check_outbound(&mut choices),
        1 => machines::check_inbound(&mut choices),
        2 => machines::check_acks(&mut choices),
        _ => world::check(&mut choices),
    }
});
