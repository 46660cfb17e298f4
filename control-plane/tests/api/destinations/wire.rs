//! A webhook's receiver that speaks HTTP by hand, and so can break its rules in the middle of anything.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What to do with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The connection is reset when the head and the beginning of the body are there.
    ResetInRequest,
    /// Kept; the connection is reset before an answer.
    ResetBeforeAnswer,
    /// Kept; the connection is reset in the middle of an answer's head.
    ResetInHead,
    /// Kept; nothing is ever said.
    Silence,
    /// Kept; the answer's head has no end.
    EndlessHead,
    /// Kept; it is processed, and processed.
    EndlessInterim,
    /// Not kept; an answer of this status whose body has no end.
    EndlessBody(u16),
    /// Not kept; an answer of this status with a small body that unpacks into a very large one.
    Bomb(u16),
    /// Not kept; what is said is no HTTP.
    Gibberish,
    /// Not kept; other protocols are spoken from here on.
    Switch,
    /// Kept; 200 after two early hints.
    EarlyHints,
    /// Kept; 200, and the connection is reset in the middle of the body.
    ResetInBody,
}

impl Way {
    /// Whether the sender knows afterwards that it was taken.
    pub(super) fn is_taken(self) -> bool {
        matches!(self, Self::EarlyHints | Self::ResetInBody | Self::EndlessBody(200))
    }

    fn keeps(self) -> bool {
        !matches!(
            self,
            Self::ResetInRequest | Self::Bomb(_) | Self::Gibberish | Self::Switch | Self::EndlessBody(500..)
        )
    }
}

/// A receiver; what is in no script it keeps and answers with 200.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) url: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    script: VecDeque<Way>,
    asked: usize,
    kept: Vec<(String, Vec<Value>)>,
}

impl Wire {
    pub(super) async fn new() -> Self {
        let (wire, listener) = Self::listen("http").await;
        let serving = wire.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        wire
    }

    /// One behind TLS whose certificate, by itself, is for `name`; and that certificate.
    pub(super) async fn secured(name: &str) -> (Self, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let (wire, listener) = Self::listen("https").await;
        let (serving, acceptor) = (wire.clone(), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = serving.exchange(&mut BufReader::new(stream)).await;
                    }
                });
            }
        });
        (wire, certificate.pem())
    }

    async fn listen(scheme: &str) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/hook", listener.local_addr().unwrap());
        (Self { url, inner: Arc::default() }, listener)
    }

    /// Does this with the next requests.
    pub(super) fn then(&self, ways: &[Way]) {
        self.inner.lock().unwrap().script.extend(ways);
    }

    /// How many requests came.
    pub(super) fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }

    /// The webhook-ids and items of what was kept.
    pub(super) fn kept(&self) -> Vec<(String, Vec<Value>)> {
        self.inner.lock().unwrap().kept.clone()
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Ok((true, resets)) = self.exchange(&mut stream).await {
            if resets {
                stream.get_ref().set_zero_linger().unwrap();
                return;
            }
        }
    }

    /// One request and what is done with it: whether there was one, and whether the connection is to be reset.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>) -> io::Result<(bool, bool)> {
        let (mut id, mut length, mut line) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok((false, false));
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let way = {
            let mut inner = self.inner.lock().unwrap();
            inner.asked += 1;
            inner.script.pop_front()
        };
        if way == Some(Way::ResetInRequest) {
            stream.read_exact(&mut vec![0; length / 2]).await?;
            return Ok((true, true));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if way.is_none_or(Way::keeps) {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let lines = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
            self.inner.lock().unwrap().kept.push((id, lines));
        }
        if let Some(way) = way {
            return answer(way, stream).await;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        stream.flush().await?;
        Ok((true, false))
    }
}

async fn answer(way: Way, to: &mut (impl AsyncWrite + AsyncRead + Unpin)) -> io::Result<(bool, bool)> {
    let endless = |status: u16| format!("HTTP/1.1 {status} So\r\ntransfer-encoding: chunked\r\n\r\n");
    match way {
        Way::ResetInRequest | Way::ResetBeforeAnswer => return Ok((true, true)),
        Way::ResetInHead => {
            to.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await?;
            to.flush().await?;
            return Ok((true, true));
        }
        Way::ResetInBody => {
            to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthe beg").await?;
            to.flush().await?;
            return Ok((true, true));
        }
        // Until the other side goes.
        Way::Silence => {
            let _ = to.read(&mut [0]).await?;
        }
        Way::EndlessHead => again(to, "HTTP/1.1 200 OK\r\n", "x-more: and more\r\n").await?,
        Way::EndlessInterim => again(to, "", "HTTP/1.1 102 Processing\r\n\r\n").await?,
        Way::EndlessBody(status) => again(to, &endless(status), "4\r\nmore\r\n").await?,
        Way::Bomb(status) => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::best());
            let zeros = vec![0; 1 << 20];
            for _ in 0..64 {
                packed.write_all(&zeros)?;
            }
            let packed = packed.finish()?;
            let head =
                format!("HTTP/1.1 {status} So\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
            to.write_all(head.as_bytes()).await?;
            to.write_all(&packed).await?;
        }
        Way::Gibberish => to.write_all(b"220 mail.example ESMTP\r\n").await?,
        Way::Switch => {
            to.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await?;
        }
        Way::EarlyHints => {
            to.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await?;
            to.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await?;
        }
    }
    Ok((way != Way::Gibberish && way != Way::Switch, false))
}

/// Writes the second text again and again, until the other side takes no more of it.
async fn again(to: &mut (impl AsyncWrite + Unpin), first: &str, then: &str) -> io::Result<()> {
    to.write_all(first.as_bytes()).await?;
    loop {
        to.write_all(then.as_bytes()).await?;
    }
}
