//! An upstream for benchmarks: it does as little as an MCP server can, so that what is measured is the way to it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts a modern server with this many tools on a free port of 127.0.0.1; it ends with its runtime.
pub async fn start(tools: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = serve(stream, tools).await;
            });
        }
    });
    address
}

async fn serve(mut stream: TcpStream, tools: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(16 * 1024);
    loop {
        let (body, end) = loop {
            if let Some(place) = whole_request(&buffer) {
                break place;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let answer = answer(&buffer[body..end], tools);
        buffer.drain(..end);
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).await?;
    }
}

/// Where the first request's body begins and ends, once all of it is there.
fn whole_request(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse::<usize>().ok()?;
    (buffer.len() >= head + length).then_some((head, head + length))
}

fn answer(body: &[u8], tools: usize) -> String {
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    let result = match message["method"].as_str().unwrap_or_default() {
        "tools/call" => {
            json!({"resultType": "complete", "content": [{"type": "text", "text": text(&message["params"]["arguments"])}], "isError": false})
        }
        "tools/list" => json!({"resultType": "complete", "tools": definitions(tools), "ttlMs": 60_000, "cacheScope": "private"}),
        "server/discover" => {
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 60_000, "cacheScope": "private"})
        }
        _ => return json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "method not found"}}).to_string(),
    };
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string()
}

/// What the tool says: the message, and as many bytes after it as were asked for.
fn text(arguments: &Value) -> String {
    let more = usize::try_from(arguments["bytes"].as_u64().unwrap_or_default()).unwrap_or_default();
    arguments["message"].as_str().unwrap_or_default().to_owned() + &"x".repeat(more)
}

/// Tools of the usual size: about 660 bytes each.
fn definitions(count: usize) -> Vec<Value> {
    let text = "Looks something up and says what it found, with enough words to be as long as real descriptions are. "
        .repeat(3);
    let text = text.trim();
    (0..count)
        .map(|number| {
            let name = if number == 0 { "echo".to_owned() } else { format!("tool_{number}") };
            json!({"name": name, "description": text, "annotations": {"readOnlyHint": true, "openWorldHint": false},
                "inputSchema": {"type": "object", "properties": {
                    "message": {"type": "string", "description": "What to say back"},
                    "bytes": {"type": "integer", "description": "How many bytes more than that", "minimum": 0},
                    "limit": {"type": "integer", "description": "How many at most", "minimum": 1, "maximum": 100}}}})
        })
        .collect()
}
