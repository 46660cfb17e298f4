//! What any long-running program of ours does alike: telemetry, listening, health, drain.

mod causes;
pub mod clock;
pub mod drain;
pub mod health;
pub mod listen;
pub mod metrics;
pub mod redis;
pub mod shutdown;
pub mod telemetry;

pub use causes::causes;
pub use clock::clock;
pub use drain::Drain;
pub use health::Health;
