//! Both roles of the protocol talk in memory, under a clock that is moved by hand, over a connection
//! that is lost where a test says so.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod bench;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod server;
