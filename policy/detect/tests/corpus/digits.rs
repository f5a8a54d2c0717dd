//! Check digits for the generator, written from the standards a second time and in another way than the validators:
//! a digit is found by trying, or by the formula that makes one rather than the one that tests it.

use rand::RngExt as _;

use super::Random;

pub fn digits(rng: &mut Random, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + rng.random_range(0..10u8))).collect()
}

pub fn values(text: &str) -> Vec<i64> {
    text.chars().map(|c| i64::from(c.to_digit(36).expect("a letter or digit"))).collect()
}

pub fn dot(text: &str, weights: &[i64]) -> i64 {
    values(text).iter().zip(weights).map(|(value, weight)| value * weight).sum()
}

pub fn with_luhn(body: &str) -> String {
    let table = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
    let sum: i64 = values(body)
        .iter()
        .rev()
        .enumerate()
        .map(|(at, value)| if at % 2 == 0 { table[*value as usize] } else { *value })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// The remainder by 97 of text with letters as two digits, as one large number in pieces.
pub fn mod_97(text: &str) -> u64 {
    let expanded: String = text.chars().map(|c| c.to_digit(36).expect("alphanumeric").to_string()).collect();
    expanded.as_bytes().chunks(9).fold(0, |rest, chunk| {
        let chunk = std::str::from_utf8(chunk).expect("digits");
        format!("{rest}{chunk}").parse::<u64>().expect("small") % 97
    })
}

pub fn iban(country: &str, account: &str) -> String {
    format!("{country}{:02}{account}", 98 - mod_97(&format!("{account}{country}00")))
}

pub fn with_lei(body: &str) -> String {
    format!("{body}{:02}", 98 - mod_97(&format!("{body}00")))
}

/// ISO 7064 mod 11,10 by trying every digit against the definition with powers.
pub fn with_mod_11_10(body: &str) -> String {
    let mut product = 10;
    for value in values(body) {
        let mut sum = (value + product) % 10;
        if sum == 0 {
            sum = 10;
        }
        product = sum * 2 % 11;
    }
    let check = (0..10).find(|check| (product + check) % 10 == 1).expect("one of ten");
    format!("{body}{check}")
}

pub fn with_verhoeff(body: &str) -> String {
    const D: [[usize; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const P: [[usize; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let check = (0..10)
        .find(|check| {
            let all = format!("{body}{check}");
            let state = values(&all)
                .iter()
                .rev()
                .enumerate()
                .fold(0, |state, (at, value)| D[state][P[at % 8][*value as usize]]);
            state == 0
        })
        .expect("one of ten");
    format!("{body}{check}")
}

/// Appends the digit for which the weighted sum, the digit with `last`, is `target` by `modulus`; `None` if there is
/// no such digit, and another body is needed.
pub fn with_sum(body: &str, weights: &[i64], last: i64, modulus: i64, target: i64) -> Option<String> {
    let sum = dot(body, weights);
    let check = (0..10).find(|check| (sum + check * last - target).rem_euclid(modulus) == 0)?;
    Some(format!("{body}{check}"))
}

/// Tries bodies until one has a check digit.
pub fn until(mut make: impl FnMut() -> Option<String>) -> String {
    loop {
        if let Some(made) = make() {
            return made;
        }
    }
}

pub fn base32(rng: &mut Random, count: usize) -> String {
    (0..count).map(|_| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[rng.random_range(0..32)])).collect()
}

pub fn alnum(rng: &mut Random, count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..count).map(|_| char::from(ALPHABET[rng.random_range(0..62)])).collect()
}

pub fn hex(rng: &mut Random, count: usize) -> String {
    (0..count).map(|_| char::from(b"0123456789abcdef"[rng.random_range(0..16)])).collect()
}

pub fn letters(rng: &mut Random, from: &str, count: usize) -> String {
    let from: Vec<char> = from.chars().collect();
    (0..count).map(|_| from[rng.random_range(0..from.len())]).collect()
}
