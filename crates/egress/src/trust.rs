//! Whose certificates are believed, who we say we are, and which protocols are offered.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// What is offered to a TLS server (ALPN). In clear text HTTP/1.1 is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocols {
    /// HTTP/1.1 only.
    #[default]
    Http1,
    /// HTTP/2 where the server takes it.
    Http2OrHttp1,
    /// Nothing: what is spoken is no HTTP.
    Other,
}

/// Whose certificates are believed: the public roots, and an operator's own beside them, or one certificate alone.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: RootCertStore,
    pinned: Option<[u8; 32]>,
    identity: Option<Identity>,
}

/// The text holds no certificate that can be a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificates must be PEM, each `-----BEGIN CERTIFICATE-----` with a CA certificate")]
pub struct TrustError;

/// A client's certificate and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The texts are not a certificate and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate and its private key must be PEM and belong together")]
pub struct IdentityError;

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Identity {
    /// Reads a certificate, those above it after it, and its key.
    ///
    /// # Errors
    /// [`IdentityError`] when a text is not PEM, or the key is not that of the first certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|_| IdentityError)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|_| IdentityError)?;
        Ok(Self { chain, key })
    }
}

impl Default for Trust {
    fn default() -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self { roots, pinned: None, identity: None }
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

    /// Believes only the certificate with this SHA-256 (RFC 5425, 4.2.2): neither who signed it nor its name nor its dates
    /// matter then.
    #[must_use]
    pub fn pinned(sha256: [u8; 32]) -> Self {
        Self { roots: RootCertStore::empty(), pinned: Some(sha256), identity: None }
    }

    /// Shows a certificate to servers that ask for one.
    #[must_use]
    pub fn as_client(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// TLS 1.2 and 1.3 by aws-lc-rs.
    #[expect(clippy::expect_used, reason = "the provider has both versions, and the identity was tried with it")]
    pub(crate) fn config(self, protocols: Protocols) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.expect("TLS 1.2 and 1.3");
        let builder = match self.pinned {
            Some(sha256) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned::new(sha256, &provider)))
            }
            None => builder.with_root_certificates(self.roots),
        };
        let mut config = match self.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).expect("certificate and key"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = match protocols {
            Protocols::Http1 => vec![b"http/1.1".to_vec()],
            Protocols::Http2OrHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Protocols::Other => Vec::new(),
        };
        Arc::new(config)
    }
}

/// Believes one certificate. That the server holds its key is checked as ever.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(sha256: [u8; 32], provider: &CryptoProvider) -> Self {
        Self { sha256, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if digest(&SHA256, end_entity).as_ref() == self.sha256 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
