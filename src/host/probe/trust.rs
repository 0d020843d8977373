//! Whom a probe believes.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::TlsTrust;
use crate::digest::sha256_hex;

/// The error says what is wrong with the roots.
pub(super) fn client_config(trust: &TlsTrust) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(match trust {
        TlsTrust::Roots(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
        TlsTrust::Certificate(fingerprint) => {
            with(builder, Judge { provider, only: Some(fingerprint.clone()) })
        }
        TlsTrust::Anything => with(builder, Judge { provider, only: None }),
    })
}

fn with(builder: ConfigBuilder<ClientConfig, WantsVerifier>, judge: Judge) -> ClientConfig {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(judge)).with_no_client_auth()
}

fn roots(pem: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the trusted certificates: {error}"))?;
        store.add(certificate).map_err(|error| format!("the trusted certificates: {error}"))?;
    }
    if store.is_empty() { Err("there is no trusted certificate".to_owned()) } else { Ok(store) }
}

/// Believes every certificate, or one by its SHA-256. Signatures are still checked, so that what is
/// seen is what the server has the key of.
#[derive(Debug)]
struct Judge {
    provider: Arc<CryptoProvider>,
    only: Option<String>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.only {
            Some(wanted) if sha256_hex(end_entity) != *wanted => {
                Err(rustls::Error::General("it shows another certificate".to_owned()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
