//! The pipeline, from a client's request to an upstream in this process, with the record each leaves.

mod asking;
mod ends;
mod eras;
mod faults;
mod forwarding;
mod input;
mod levels;
mod messages;
mod seen;
mod sessions;
mod streams;
mod tools;

use serde_json::Value;

use crate::testing::Stage;
use crate::testing::upstream::{Speaks, Upstream};

async fn stage(speaks: Speaks) -> (Stage, Upstream) {
    let upstream = Upstream::start(speaks).await;
    (Stage::new(&upstream.url()).await, upstream)
}

fn status(record: &Value) -> &str {
    record["outcome"]["status"].as_str().unwrap()
}
