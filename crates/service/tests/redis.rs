//! Connections to a real Redis of the test's own: deadlines, and what happens when it goes and comes back.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, Value, cmd};
use service::redis::{connect, connect_lazily, connect_waiting};

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(port: Option<u16>) -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.unwrap_or_else(free);
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until it is answered.
async fn answered(connection: &mut impl ConnectionLike) {
    let mut again = tokio::time::interval(Duration::from_millis(50));
    let asking = async {
        while cmd("PING").query_async::<()>(connection).await.is_err() {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap();
}

#[tokio::test]
async fn a_command_has_a_deadline_and_one_that_waits_has_a_longer_one() {
    let server = Server::start(None);
    answered(&mut connect_lazily(&server.url()).unwrap()).await;
    let mut shared = connect(&server.url()).await.unwrap();
    let mut waiting = connect_waiting(&server.url(), Duration::from_secs(5)).await.unwrap();
    let (mut first, mut second) = (cmd("BLPOP"), cmd("BLPOP"));
    let (late, empty): (RedisResult<Value>, RedisResult<Value>) = tokio::join!(
        first.arg("nothing").arg(5).query_async(&mut shared),
        second.arg("nothing").arg(3).query_async(&mut waiting),
    );
    assert!(late.unwrap_err().is_timeout());
    assert_eq!(empty, Ok(Value::Nil));
}

#[tokio::test]
async fn resp3_is_spoken() {
    let server = Server::start(None);
    let mut connection = connect_lazily(&server.url()).unwrap();
    answered(&mut connection).await;
    let answer: Value = cmd("CONFIG").arg("GET").arg("port").query_async(&mut connection).await.unwrap();
    assert!(matches!(answer, Value::Map(_)), "RESP2 has no maps: {answer:?}");
}

#[tokio::test]
async fn a_connection_makes_itself_again_when_redis_comes_back() {
    let server = Server::start(None);
    let (url, port) = (server.url(), server.port);
    let mut connection = connect_lazily(&url).unwrap();
    answered(&mut connection).await;
    drop(server);
    assert!(cmd("PING").query_async::<()>(&mut connection).await.is_err());
    let _again = Server::start(Some(port));
    answered(&mut connection).await;
}
