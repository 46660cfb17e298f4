//! The conformance suite's server by itself: `everything [--port 3901] [--eras dual|modern|legacy] [--broken NAME]`. It says
//! its URL and serves until it is killed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's server may stop, and says where it is"
)]

use sluice_tests::everything::{Broken, Everything, Options};
use sluice_tests::upstream::Eras;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let (mut port, mut options) = (3901, Options { eras: Eras::Dual, broken: None });
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match (name.as_str(), value.as_str()) {
            ("--port", value) => port = value.parse().unwrap(),
            ("--eras", "dual") => options.eras = Eras::Dual,
            ("--eras", "modern") => options.eras = Eras::Modern,
            ("--eras", "legacy") => options.eras = Eras::Legacy,
            ("--broken", value) => {
                let found = Broken::ALL.into_iter().find(|(name, _)| *name == value);
                options.broken = Some(found.unwrap_or_else(|| panic!("nothing is broken by the name of {value}")).1);
            }
            _ => panic!("{name} {value} is not understood"),
        }
    }
    let server = Everything::serve(TcpListener::bind(("127.0.0.1", port)).await.unwrap(), options);
    println!("{}", server.url());
    std::future::pending::<()>().await;
}
