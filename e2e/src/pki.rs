//! Certificates of a cluster, made anew for each run.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority with its key.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// Whose certificate it is: for Kubernetes the common name is the user, the organization the group.
pub struct Subject<'a> {
    /// The user's or server's name.
    pub name: &'a str,
    /// The group, if it is in one.
    pub group: Option<&'a str>,
}

impl Authority {
    /// A new authority of this name, valid for longer than any run.
    ///
    /// # Errors
    ///
    /// The library refuses, which it has no reason for.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair { certificate: self.certificate.clone(), key: self.issuer.key().serialize_pem() }
    }

    /// The authority's own certificate, PEM: what others trust it by.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a client called `subject`.
    ///
    /// # Errors
    ///
    /// As [`Authority::new`].
    pub fn client(&self, subject: &Subject<'_>) -> Result<Pair> {
        self.issue(subject, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for a server that is found under `names`, addresses included.
    ///
    /// # Errors
    ///
    /// One of them is no name.
    pub fn server(&self, subject: &Subject<'_>, names: &[&str]) -> Result<Pair> {
        self.issue(subject, names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(&self, subject: &Subject<'_>, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Result<Pair> {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, subject.name);
        if let Some(group) = subject.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}
