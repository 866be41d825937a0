//! Certificates in PEM files: whom a server is believed, and who we are.

use crate::cli::open;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use ureq::tls::{Certificate, PemItem, PrivateKey, parse_pem};

/// Bytes of a file of certificates that are read.
const MOST_BYTES: u64 = 8 << 20;
/// Where distributions keep the authorities that they believe: Debian and Alpine, Fedora, SUSE, others.
const USUAL: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of this file, else of `$SSL_CERT_FILE`, else the system's.
pub(super) fn certificates(given: Option<&Path>) -> Result<Vec<Certificate<'static>>> {
    let named = given.map(Path::to_path_buf).or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    let usual = || USUAL.iter().map(PathBuf::from).find(|path| path.is_file());
    let Some(path) = named.or_else(usual) else {
        bail!(
            "no authority is known that could prove an https server: name a PEM file with --ca, or install ca-certificates"
        );
    };
    read(&path)
}

/// All certificates of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = bytes(path)?;
    let items: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if items.is_empty() {
        bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(items)
}

/// The private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKey<'static>> {
    PrivateKey::from_pem(&bytes(path)?).with_context(|| format!("{} holds no private key in PEM", path.display()))
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let read = open::regular(path).and_then(|file| open::bytes(&file, MOST_BYTES));
    read.with_context(|| format!("reading {}", path.display()))
}
