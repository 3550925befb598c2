//! Sealing: values that nobody can read on the disk, and that cannot be put in the place of others.
//!
//! AES-256-GCM-SIV (RFC 8452) with a nonce of 96 random bits for each value. Random, because a counter would have to
//! survive power cuts to be one; GCM-SIV, because with it even a nonce that came twice would only show that two values
//! are equal, and of one key 2^32 values may be sealed (a node seals some hundred a day). The record that a value
//! belongs to is part of what is authenticated, so a value opens nowhere else.
//!
//! A value under another key is told as such and kept as it is: a key that was lost may be found again.

pub mod key;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;

use crate::objects::{Cipher, CipherError};
use key::Key;

/// What a sealed value begins with: version, key id, nonce.
const VERSION: u8 = 1;
const ID: usize = 4;
const HEAD: usize = 1 + ID + NONCE_LEN;

/// Fills a buffer with random bytes; whether it could.
pub type Random = Box<dyn Fn(&mut [u8]) -> bool + Send + Sync>;

/// Seals with one key, and opens with that and older ones.
pub struct Sealer {
    current: Named,
    older: Vec<Named>,
    random: Random,
}

struct Named {
    id: [u8; ID],
    key: LessSafeKey,
}

impl Named {
    fn new(key: &Key) -> Result<Named, CipherError> {
        let unbound = UnboundKey::new(&AES_256_GCM_SIV, key.bytes());
        let unbound = unbound.map_err(|_| CipherError("the key cannot be used".to_owned()))?;
        Ok(Named { id: id(key), key: LessSafeKey::new(unbound) })
    }
}

/// What a key is called: it does not help to find the key.
fn id(key: &Key) -> [u8; ID] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"edgekeep: the id of a sealing key\0");
    context.update(key.bytes());
    let digest = context.finish();
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

fn shown(id: [u8; ID]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Sealer {
    /// Seals with `current`; opens what was sealed with it or with one of `older`.
    ///
    /// # Errors
    /// When a key cannot be used.
    pub fn new(current: &Key, older: &[Key]) -> Result<Sealer, CipherError> {
        Self::with_random(current, older, Box::new(|buffer| aws_lc_rs::rand::fill(buffer).is_ok()))
    }

    /// The same with another source of nonces, for tests.
    ///
    /// # Errors
    /// As [`Sealer::new`].
    pub fn with_random(current: &Key, older: &[Key], random: Random) -> Result<Sealer, CipherError> {
        let older = older.iter().map(Named::new).collect::<Result<_, _>>()?;
        Ok(Sealer { current: Named::new(current)?, older, random })
    }

    /// The id of the key that seals, as errors name it.
    pub fn id(&self) -> String {
        shown(self.current.id)
    }
}

/// Everything that is authenticated beside the value.
fn aad(head: &[u8], context: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([head, context].concat())
}

impl Cipher for Sealer {
    fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut nonce = [0; NONCE_LEN];
        if !(self.random)(&mut nonce) {
            return Err(CipherError("the system gave no random numbers".to_owned()));
        }
        let head = [&[VERSION][..], &self.current.id].concat();
        let mut value = plain.to_vec();
        self.current
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(&head, context), &mut value)
            .map_err(|_| CipherError("it could not be sealed".to_owned()))?;
        Ok([&head[..], &nonce, &value].concat())
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        let parts = sealed.split_at_checked(HEAD).and_then(|(head, value)| {
            let (id, nonce) = head.get(1..)?.split_first_chunk::<ID>()?;
            Some((*head.first()?, *id, *nonce.first_chunk::<NONCE_LEN>()?, value))
        });
        let Some((version, id, nonce, value)) = parts else {
            return Err(CipherError("it is too short to be a sealed value".to_owned()));
        };
        if version != VERSION {
            return Err(CipherError(format!("it was sealed by a newer edgekeep (version {version})")));
        }
        let Some(key) = std::iter::once(&self.current).chain(&self.older).find(|key| key.id == id) else {
            return Err(CipherError(format!(
                "it was sealed with the key {}, and this node has {}: give it that key back, or delete the record",
                shown(id),
                self.id()
            )));
        };
        let mut value = value.to_vec();
        let head = sealed.get(..1 + ID).unwrap_or_default();
        let opened =
            key.key.open_in_place(Nonce::assume_unique_for_key(nonce), aad(head, context), &mut value);
        let len =
            opened.map_err(|_| CipherError("it was changed, or belongs to another record".to_owned()))?.len();
        value.truncate(len);
        Ok(value)
    }

    fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..=ID) == Some(&self.current.id[..])
    }
}
