//! Randomness, as something that is handed in: secrets are made of it and tests repeat it.

use std::cell::Cell;

use sha2::{Digest, Sha256};

use crate::secret::Secret;

pub trait Random {
    /// Fills the whole buffer.
    fn bytes(&self, buffer: &mut [u8]);
}

/// The kernel's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bytes(&self, buffer: &mut [u8]) {
        // getrandom(2) cannot fail for a valid buffer on a kernel that has it (Linux 3.17), and a
        // password made without it must never exist: stopping is the only right answer.
        getrandom::fill(buffer).expect("the kernel gives random bytes");
    }
}

/// Repeats itself for the same seed. For tests; nothing secret may come from it.
#[derive(Debug, Default)]
pub struct SeededRandom {
    seed: u64,
    blocks: Cell<u64>,
}

impl SeededRandom {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        SeededRandom { seed, blocks: Cell::new(0) }
    }
}

impl Random for SeededRandom {
    fn bytes(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let block = self.blocks.replace(self.blocks.get() + 1);
            let mut hash = Sha256::new();
            hash.update(self.seed.to_be_bytes());
            hash.update(block.to_be_bytes());
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
    }
}

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A password of `length` characters from `[A-Za-z0-9]`: each is worth 5.95 bits, and none needs
/// quoting in odoo.conf, in SQL or in a shell.
#[must_use]
pub fn password(random: &dyn Random, length: usize) -> Secret {
    // Bytes from 248 up are thrown away; taking them modulo 62 would favour the first letters.
    const FAIR: usize = 256 - 256 % ALPHABET.len();
    let mut text = String::with_capacity(length);
    let mut buffer = [0_u8; 64];
    while text.len() < length {
        random.bytes(&mut buffer);
        let letters = buffer.iter().map(|byte| usize::from(*byte)).filter(|value| *value < FAIR);
        let letters = letters.map(|value| char::from(ALPHABET[value % ALPHABET.len()]));
        text.extend(letters.take(length - text.len()));
    }
    Secret::new(text)
}

/// RFC 4648, section 6, in lower case: no two of them look alike.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Nine groups of six: 270 bits.
const GROUPS: usize = 9;

/// A password of 270 bits that somebody can type from paper: nine groups of six letters or digits
/// with hyphens between them, which belong to it.
#[must_use]
pub fn passphrase(random: &dyn Random) -> Secret {
    let mut bytes = [[0_u8; 6]; GROUPS];
    let groups = bytes.each_mut().map(|group| {
        random.bytes(group);
        // 256 is a multiple of 32: no letter is favoured.
        group.iter().map(|byte| char::from(BASE32[usize::from(*byte) % BASE32.len()])).collect::<String>()
    });
    Secret::new(groups.join("-"))
}

/// Sixteen lower-case hexadecimal digits (64 bits): enough that two never meet on one host.
#[must_use]
pub fn identifier(random: &dyn Random) -> String {
    let mut bytes = [0; 8];
    random.bytes(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_goes_on() {
        let draw = |random: &SeededRandom| {
            let mut buffer = [0_u8; 40];
            random.bytes(&mut buffer);
            buffer
        };
        let (one, two) = (SeededRandom::new(7), SeededRandom::new(7));
        assert_eq!(draw(&one), draw(&two));
        assert_ne!(draw(&one), draw(&SeededRandom::new(7)));
    }

    #[test]
    fn the_kernel_does_not_repeat() {
        let (mut one, mut two) = ([0_u8; 32], [0_u8; 32]);
        SystemRandom.bytes(&mut one);
        SystemRandom.bytes(&mut two);
        assert_ne!(one, two);
    }

    #[test]
    fn passwords_have_their_length_and_alphabet() {
        for length in [0, 1, 24, 200] {
            let secret = password(&SeededRandom::new(1), length);
            assert_eq!(secret.expose().len(), length);
            assert!(secret.expose().bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

    #[test]
    fn passphrases_are_groups_that_can_be_typed() {
        let random = SeededRandom::new(1);
        let (one, two) = (passphrase(&random), passphrase(&random));
        assert_ne!(one, two);
        let groups: Vec<&str> = one.expose().split('-').collect();
        assert_eq!(groups.len(), GROUPS);
        assert!(groups.iter().all(|g| g.len() == 6 && g.bytes().all(|byte| BASE32.contains(&byte))));
    }

    #[test]
    fn identifiers_have_sixteen_digits() {
        let random = SeededRandom::new(1);
        let (one, two) = (identifier(&random), identifier(&random));
        assert!(one.len() == 16 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, two);
    }

    /// Plain `byte % 62` would give the first eight letters a share of 5/256 instead of 1/62,
    /// 21 % more than the rest.
    #[test]
    fn no_letter_is_favoured() {
        const EACH: usize = 2000;
        let secret = password(&SeededRandom::new(3), EACH * ALPHABET.len());
        for letter in ALPHABET {
            let count = secret.expose().bytes().filter(|byte| byte == letter).count();
            assert!(count.abs_diff(EACH) < EACH / 10, "{} came {count} times", char::from(*letter));
        }
    }
}
