//! Whose certificates are believed, and which protocols are offered.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// What is offered to a TLS server (ALPN). In clear text HTTP/1.1 is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocols {
    /// HTTP/1.1 only.
    #[default]
    Http1,
    /// HTTP/2 where the server takes it.
    Http2OrHttp1,
}

/// Whose certificates are believed: the public roots, and an operator's own beside them.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: RootCertStore,
}

/// The text holds no certificate that can be a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificates must be PEM, each `-----BEGIN CERTIFICATE-----` with a CA certificate")]
pub struct TrustError;

impl Default for Trust {
    fn default() -> Self {
        Self { roots: webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect() }
    }
}

impl Trust {
    /// Believes the certificates of a PEM text, too.
    ///
    /// # Errors
    /// [`TrustError`] when it holds none, or one that is no certificate.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, TrustError> {
        let before = self.roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.roots.add(certificate.map_err(|_| TrustError)?).map_err(|_| TrustError)?;
        }
        if self.roots.len() == before { Err(TrustError) } else { Ok(self) }
    }

    /// TLS 1.2 and 1.3 by aws-lc-rs, no client certificate.
    #[expect(clippy::expect_used, reason = "the provider has both versions")]
    pub(crate) fn config(self, protocols: Protocols) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("TLS 1.2 and 1.3").with_root_certificates(self.roots);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = match protocols {
            Protocols::Http1 => vec![b"http/1.1".to_vec()],
            Protocols::Http2OrHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Arc::new(config)
    }
}
