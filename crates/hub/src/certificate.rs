//! What a certificate says: whose it is and from when to when.

use std::time::SystemTime;

use access::caller::User;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Any, Decode};

use crate::error::{Error, Result};

/// The subject's attributes that name a user (RFC 5280, appendix A).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// What of a certificate matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whom it names.
    pub user: User,
    /// From when on it counts.
    pub not_before: SystemTime,
    /// Until when it counts.
    pub not_after: SystemTime,
}

/// Reads a certificate, without judging it.
///
/// # Errors
///
/// It is not a certificate.
pub fn facts(der: &CertificateDer<'_>) -> Result<Facts> {
    let certificate = Certificate::from_der(der).map_err(|e| Error::with("not a certificate", e))?;
    let tbs = certificate.tbs_certificate();
    let (mut name, mut groups) = (String::new(), Vec::new());
    for attribute in tbs.subject().iter() {
        if attribute.oid == COMMON_NAME {
            // As Go's crypto/x509/pkix does it: the last one counts.
            name = text(&attribute.value);
        } else if attribute.oid == ORGANIZATION {
            groups.push(text(&attribute.value));
        }
    }
    let validity = tbs.validity();
    Ok(Facts {
        user: User { name, groups },
        not_before: validity.not_before.to_system_time(),
        not_after: validity.not_after.to_system_time(),
    })
}

/// A string of a name; other types than these name nobody.
fn text(value: &Any) -> String {
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
    let printable = || value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned());
    let teletex = || value.decode_as::<TeletexStringRef<'_>>().map(|text| text.as_str().to_owned());
    utf8.or_else(|_| printable()).or_else(|_| teletex()).unwrap_or_default()
}

/// The certificates of a PEM file, in its order; other sections are passed over.
///
/// # Errors
///
/// A section is damaged, or there is no certificate.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::with("damaged PEM", e))?;
    if chain.is_empty() {
        return Err(Error::new("no certificate in it"));
    }
    Ok(chain)
}

/// The first private key of a PEM file.
///
/// # Errors
///
/// There is none that can be read.
pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| Error::with("no private key in it", e))
}
