//! Addresses of Bitcoin and Ethereum, with the checks they carry.

use sha2::{Digest, Sha256};
use sha3::Keccak256;

use super::{View, Word};
use crate::class::Class;
use crate::flat::{LOWER, UPPER};

impl View<'_> {
    pub(super) fn crypto(&mut self, word: Word<'_>) {
        let bytes = word.bytes;
        match bytes.len() {
            26..=35 if matches!(bytes[0], b'1' | b'3') && is_base58check(bytes) => {
                self.offer(Class::BTC, word.start, word.end, 60);
            }
            42 if bytes.starts_with(b"0x") => {
                if let Some(base) = ethereum(&bytes[2..]) {
                    self.offer(Class::ETH, word.start, word.end, base);
                }
            }
            14..=90 if matches!(&bytes[..3], b"bc1" | b"BC1" | b"tb1" | b"TB1") && is_bech32(bytes) => {
                self.offer(Class::BTC, word.start, word.end, 60);
            }
            _ => {}
        }
    }
}

/// Version byte, 20 bytes of hash and four of the double SHA-256 of these, as a number in base 58.
fn is_base58check(text: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for character in text {
        let Some(digit) = ALPHABET.iter().position(|known| known == character) else { return false };
        let mut carry = digit as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let ones = text.iter().take_while(|byte| **byte == b'1').count();
    let (body, check) = bytes.split_at(21);
    let hash = Sha256::digest(Sha256::digest(body));
    matches!(body[0], 0x00 | 0x05) && zeros == ones && hash[..4] == *check
}

/// BIP 173 and, from witness version 1 on, BIP 350.
fn is_bech32(text: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut state = 1_u32;
    let mut step = |value: u32| {
        let top = state >> 25;
        state = (state & 0x1ff_ffff) << 5 ^ value;
        for (bit, generator) in GENERATOR.iter().enumerate() {
            if top >> bit & 1 == 1 {
                state ^= generator;
            }
        }
    };
    let prefix = [text[0].to_ascii_lowercase(), text[1].to_ascii_lowercase()];
    prefix.iter().for_each(|byte| step(u32::from(byte >> 5)));
    step(0);
    prefix.iter().for_each(|byte| step(u32::from(byte & 31)));
    let mut version = None;
    for character in &text[3..] {
        let lower = character.to_ascii_lowercase();
        let Some(value) = ALPHABET.iter().position(|known| *known == lower) else { return false };
        version = version.or(Some(value));
        step(value as u32);
    }
    match version {
        Some(0) => state == 1,
        Some(1..=16) => state == 0x2bc8_30a3,
        _ => false,
    }
}

/// Forty hexadecimal digits: in two cases with the check of EIP-55, in one case like any hash.
fn ethereum(text: &[u8]) -> Option<i16> {
    let marks = text.iter().fold(0, |all, byte| all | super::marks(*byte));
    if !text.iter().all(u8::is_ascii_hexdigit) || text.iter().all(|byte| *byte == text[0]) {
        return None;
    }
    if marks & UPPER == 0 || marks & LOWER == 0 {
        return Some(18);
    }
    let hash = Keccak256::digest(text.to_ascii_lowercase());
    let fits = text.iter().enumerate().all(|(at, byte)| {
        let nibble = hash[at / 2] >> (if at % 2 == 0 { 4 } else { 0 }) & 15;
        byte.is_ascii_digit() || byte.is_ascii_uppercase() == (nibble >= 8)
    });
    fits.then_some(60)
}
