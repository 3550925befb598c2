//! The hub's own authority: signs the hub's certificate and those of who may talk to it on this node.
//!
//! Everything it signs is valid from 1970 for longer than any machine lasts, so that no error of the clock, and no
//! outage, locks kubelet out (design §6.1). What it signs is worth nothing beyond this node.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use access::caller::User;
use durable::fs::Fs;
use durable::place::{create_dir_durably, replace_file};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::certificate;
use crate::error::{Error, Result};

/// Largest file of a key or certificate that is read, in bytes.
const MAX_PEM: usize = 1 << 20;
/// Whom kubelet and kubectl on this node see as the signer.
const AUTHORITY: &str = "edgekeep hub";

/// The files below the directory of the authority.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authority's certificate: what clients on the node trust.
    pub ca_certificate: PathBuf,
    /// The authority's key.
    pub ca_key: PathBuf,
    /// kubelet's certificate.
    pub kubelet_certificate: PathBuf,
    /// kubelet's key.
    pub kubelet_key: PathBuf,
}

impl Files {
    /// Those in `dir`.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        let file = |name: &str| dir.join(name);
        Self {
            ca_certificate: file("ca.crt"),
            ca_key: file("ca.key"),
            kubelet_certificate: file("kubelet.crt"),
            kubelet_key: file("kubelet.key"),
        }
    }
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub certificate: String,
}

impl Authority {
    /// Opens the authority in `dir`, and makes it there if there is none.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written, or does not hold what it should.
    pub fn open_or_make<F: Fs>(fs: &F, dir: &Path) -> Result<Self> {
        let files = Files::in_dir(dir);
        create_dir_durably(fs, dir, 0o700).map_err(|e| Error::file("cannot make", dir, e))?;
        let (key, certificate) = (read(fs, &files.ca_key)?, read(fs, &files.ca_certificate)?);
        let key = match (key, &certificate) {
            (Some(pem), _) => parse_key(&pem, &files.ca_key)?,
            (None, None) => {
                let key = generate()?;
                write(fs, &files.ca_key, &key.serialize_pem(), 0o600)?;
                key
            }
            (None, Some(_)) => {
                return Err(Error::new(format!(
                    "{} is there but {} is not: bring the key back from a backup, or move {} away to have a new authority \
                     made; then run `edgekeep adopt kubelet` again",
                    files.ca_certificate.display(),
                    files.ca_key.display(),
                    dir.display()
                )));
            }
        };
        let params = authority_params();
        let certificate = if let Some(pem) = certificate {
            crate::tls::identity(pem.as_bytes(), key.serialize_pem().as_bytes()).map_err(|e| {
                let (certificate, key) = (files.ca_certificate.display(), files.ca_key.display());
                Error::new(format!(
                    "{certificate} and {key} do not fit each other ({e}): bring both back from one backup, or move {} away to \
                     have a new authority made; then run `edgekeep adopt kubelet` again",
                    dir.display()
                ))
            })?;
            pem
        } else {
            let made = params.self_signed(&key).map_err(|e| Error::with("cannot sign", e))?.pem();
            write(fs, &files.ca_certificate, &made, 0o644)?;
            made
        };
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Signs for a server that is reached by these names and addresses.
    ///
    /// # Errors
    ///
    /// A name is not one.
    pub fn server(&self, names: &[String]) -> Result<Minted> {
        let mut params = leaf("edgekeep hub", ExtendedKeyUsagePurpose::ServerAuth);
        for name in names {
            let san =
                match name.parse::<IpAddr>() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName(name.as_str().try_into().map_err(|e| {
                        Error::with(format!("{name:?} is neither an address nor a DNS name"), e)
                    })?),
                };
            params.subject_alt_names.push(san);
        }
        self.sign(&params)
    }

    /// Signs for a client that is `user`.
    ///
    /// # Errors
    ///
    /// The name cannot stand in a certificate.
    pub fn client(&self, user: &User) -> Result<Minted> {
        let mut params = leaf(&user.name, ExtendedKeyUsagePurpose::ClientAuth);
        for group in &user.groups {
            params.distinguished_name.push(DnType::OrganizationName, group.as_str());
        }
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Minted> {
        let key = generate()?;
        let signed = params.signed_by(&key, &self.issuer).map_err(|e| Error::with("cannot sign", e))?;
        Ok(Minted { certificate: signed.pem(), key: key.serialize_pem() })
    }

    /// Makes sure that kubelet's certificate for the node `node` is in `dir`, and says where.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn kubelet<F: Fs>(&self, fs: &F, dir: &Path, node: &str) -> Result<Files> {
        let files = Files::in_dir(dir);
        let there = (read(fs, &files.kubelet_certificate)?, read(fs, &files.kubelet_key)?);
        if let (Some(certificate), Some(key)) = there
            && self.is_kubelets(&certificate, &key, node)
        {
            return Ok(files);
        }
        let minted = self.client(&User::node(node))?;
        // The certificate last: a key without its certificate is replaced at the next start.
        write(fs, &files.kubelet_key, &minted.key, 0o600)?;
        write(fs, &files.kubelet_certificate, &minted.certificate, 0o644)?;
        Ok(files)
    }

    fn is_kubelets(&self, certificate: &str, key: &str, node: &str) -> bool {
        let Ok(chain) = certificate::chain(certificate.as_bytes()) else { return false };
        let Some(facts) = chain.first().and_then(|first| certificate::facts(first).ok()) else {
            return false;
        };
        let trust = crate::tls::Verifier::new(self.certificate.as_bytes());
        let signed = trust.is_ok_and(|trust| trust.accepts(&chain));
        let fits = crate::tls::identity(certificate.as_bytes(), key.as_bytes()).is_ok();
        facts.user.is_node(node) && signed && fits
    }
}

fn authority_params() -> CertificateParams {
    let mut params = named(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf(name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(2199, 12, 31);
    params
}

fn generate() -> Result<KeyPair> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| Error::with("cannot make a key", e))
}

fn parse_key(pem: &str, path: &Path) -> Result<KeyPair> {
    KeyPair::from_pem(pem).map_err(|e| Error::file("cannot use the key in", path, e))
}

fn read<F: Fs>(fs: &F, path: &Path) -> Result<Option<String>> {
    match durable::fs::read(fs, path, MAX_PEM) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|e| Error::file("cannot use", path, e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file("cannot read", path, e)),
    }
}

fn write<F: Fs>(fs: &F, path: &Path, text: &str, mode: u32) -> Result<()> {
    replace_file(fs, path, text.as_bytes(), mode).map_err(|e| Error::file("cannot write", path, e))
}
