//! The cluster's certificate authority and the key of its service-account tokens.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
};
use serde_json::{Value, json};
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, UintRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Any, Decode, DecodePem, Encode};
use x509_cert::request::CertReq;

use super::auth::User;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// A certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub certificate: String,
    tokens: KeyPair,
}

/// From when to when something is valid, in seconds since 1970.
pub type Validity = (i64, i64);

fn params(name: &str, groups: &[String], (from, until): Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, group.as_str());
    }
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |seconds: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds.max(0).unsigned_abs())
    };
    params.not_before = at(from);
    params.not_after = at(until);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("the library makes keys of its own kind")
}

impl Authority {
    /// A new one, named `name`.
    pub fn new(name: &str, validity: Validity) -> Self {
        let mut params = params(name, &[], validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let key_pair = key();
        let certificate = params.self_signed(&key_pair).expect("an authority signs for itself").pem();
        Self { issuer: Issuer::new(params, key_pair), certificate, tokens: key() }
    }

    /// For a server with these addresses and names.
    pub fn server(&self, names: &[&str], validity: Validity) -> Credential {
        let mut params = params("kube-apiserver", &[], validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let san = |name: &&str| match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("a DNS name")),
        };
        params.subject_alt_names = names.iter().map(san).collect();
        self.sign(&params)
    }

    /// For a client that is `user`.
    pub fn client(&self, user: &User, validity: Validity) -> Credential {
        let groups: Vec<String> =
            user.groups.iter().filter(|group| *group != "system:authenticated").cloned().collect();
        let mut params = params(&user.name, &groups, validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Credential {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs").pem();
        Credential { certificate, key: key.serialize_pem() }
    }

    /// Signs a request (PKCS #10, PEM) for a client or a server; gives the certificate as PEM.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn sign_request(&self, pem: &[u8], server: bool, validity: Validity) -> Result<String, String> {
        let request = CertReq::from_pem(pem).map_err(|e| format!("the request cannot be read: {e}"))?;
        let subject = subject(request.info.subject.iter().map(|part| (part.oid, &part.value)));
        let mut params = params(&subject.0, &subject.1, validity);
        let purpose =
            if server { ExtendedKeyUsagePurpose::ServerAuth } else { ExtendedKeyUsagePurpose::ClientAuth };
        params.extended_key_usages = vec![purpose];
        let key = ForeignKey::new(&request)?;
        Ok(params.signed_by(&key, &self.issuer).map_err(|e| format!("it cannot be signed: {e}"))?.pem())
    }

    /// A token with these claims, signed as ES256.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.key_id()});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(claims));
        let signature = self.tokens.sign(text.as_bytes()).expect("the key signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(fixed(&signature)))
    }

    /// The public half of the tokens' key as a JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        let point = self.tokens.public_key_raw();
        let half = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.key_id(),
            "x": half(1..33), "y": half(33..65),
        }]})
    }

    fn key_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.tokens.public_key_raw()[1..13])
    }
}

/// The two numbers of an ECDSA signature side by side, as JWS wants them (RFC 7518, section 3.4).
fn fixed(signature: &[u8]) -> Vec<u8> {
    let numbers = Vec::<UintRef<'_>>::from_der(signature).expect("an ECDSA signature");
    let mut out = Vec::with_capacity(64);
    for number in numbers {
        let bytes = number.as_bytes();
        out.extend(std::iter::repeat_n(0, 32 - bytes.len()));
        out.extend_from_slice(bytes);
    }
    out
}

/// A key of which only the public half is known.
struct ForeignKey {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl ForeignKey {
    fn new(request: &CertReq) -> Result<Self, String> {
        let info = request.info.public_key.to_der().map_err(|e| e.to_string())?;
        let bits = request.info.public_key.subject_public_key.raw_bytes().to_vec();
        let known = [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ];
        known
            .into_iter()
            .map(|algorithm| Self { bits: bits.clone(), algorithm })
            .find(|key| key.subject_public_key_info() == info)
            .ok_or_else(|| "the request's key is of an unknown kind".to_owned())
    }
}

impl PublicKeyData for ForeignKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// Common name and organisations of a subject.
fn subject<'a>(parts: impl Iterator<Item = (ObjectIdentifier, &'a Any)>) -> (String, Vec<String>) {
    let (mut name, mut groups) = (String::new(), Vec::new());
    for (oid, value) in parts {
        if oid == COMMON_NAME {
            name = string(value);
        } else if oid == ORGANIZATION {
            groups.push(string(value));
        }
    }
    (name, groups)
}

fn string(value: &Any) -> String {
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
    let printable = || value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned());
    let ia5 = || value.decode_as::<Ia5StringRef<'_>>().map(|text| text.as_str().to_owned());
    utf8.or_else(|_| printable()).or_else(|_| ia5()).unwrap_or_default()
}

/// Whom a certificate (DER) names.
pub fn named_by(certificate: &[u8]) -> Option<User> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let parts = certificate.tbs_certificate().subject().iter();
    let (name, groups) = subject(parts.map(|part| (part.oid, &part.value)));
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Some(User::new(&name, &groups))
}
