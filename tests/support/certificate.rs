//! A server's certificate, and an authority of its own.

use std::fs;
use std::path::Path;

/// Writes `server.pem` and `server.key` for 127.0.0.1 and `localhost`, and `root.pem`, which certifies
/// them; returns the root's PEM.
#[must_use]
pub fn server_pair(home: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    // The leaf must not have its issuer's name: OpenSSL would take it for self-signed.
    params.distinguished_name.push(rcgen::DnType::CommonName, "the test's own root");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);

    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    for (file, text) in
        [("root.pem", &root), ("server.pem", &leaf.pem()), ("server.key", &key.serialize_pem())]
    {
        fs::write(home.join(file), text).unwrap();
    }
    root
}
