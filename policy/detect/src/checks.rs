//! Check digits, as the public standards give them. Digits are numbers 0 to 9, not characters.

mod national;

pub(crate) use national::*;

/// ISO/IEC 7812-1 annex B.
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, &digit)| match (at % 2, u32::from(digit)) {
            (0, digit) => digit,
            (_, digit) => digit * 2 - if digit > 4 { 9 } else { 0 },
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The sum of digits times weights, as far as both go.
pub(crate) fn weighted(digits: &[u8], weights: &[u8]) -> u32 {
    digits.iter().zip(weights).map(|(&digit, &weight)| u32::from(digit) * u32::from(weight)).sum()
}

/// The remainder by `modulus` of a decimal number with letters as 10 to 35 (ISO 7064 mod 97-10, IBAN, LEI).
/// `None` where something else stands in it.
pub(crate) fn remainder_36(text: impl Iterator<Item = u8>, modulus: u32) -> Option<u32> {
    let mut rest = 0;
    for byte in text {
        rest = match byte {
            b'0'..=b'9' => rest * 10 + u32::from(byte - b'0'),
            b'A'..=b'Z' => rest * 100 + u32::from(byte - b'A') + 10,
            b'a'..=b'z' => rest * 100 + u32::from(byte - b'a') + 10,
            _ => return None,
        } % modulus;
    }
    Some(rest)
}

/// ISO 7064 mod 11,10: a product carried along.
pub(crate) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product, &digit| {
        let sum = (product + u32::from(digit)) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == u32::from(check)
}

/// Verhoeff's scheme over the dihedral group of the pentagon, with his permutation.
pub(crate) fn verhoeff(digits: &[u8]) -> bool {
    let state = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0, |state, (at, &digit)| TIMES[state as usize][MOVED[at % 8][digit as usize] as usize]);
    state == 0
}

/// Products of rotations, 0 to 4, and reflections, 5 to 9.
static TIMES: [[u8; 10]; 10] = {
    let mut table = [[0; 10]; 10];
    let mut at = 0;
    while at < 100 {
        let (a, b) = (at / 10, at % 10);
        table[a][b] = match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b - 5) % 5,
            (false, true) => 5 + (a - b) % 5,
            (false, false) => (a + 5 - b) % 5,
        } as u8;
        at += 1;
    }
    table
};

/// The permutation, applied as often as the place of the digit says.
static MOVED: [[u8; 10]; 8] = {
    const ONCE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut table = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]; 8];
    let mut at = 10;
    while at < 80 {
        table[at / 10][at % 10] = ONCE[table[at / 10 - 1][at % 10] as usize];
        at += 1;
    }
    table
};

/// Whether the numbers name a day of the Gregorian calendar.
pub(crate) fn is_date(year: u32, month: u32, day: u32) -> bool {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// The last year that people born before these rules were written can have been born in; the crate knows no clock.
pub(crate) const YEAR_MAX: u32 = 2049;

/// A day of a year of which only two digits are known.
pub(crate) fn is_short_date(year: u32, month: u32, day: u32) -> bool {
    is_date(1900 + year, month, day) || (2000 + year <= YEAR_MAX && is_date(2000 + year, month, day))
}

/// Digits as a number; at most 19 of them.
pub(crate) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, &digit| number * 10 + u64::from(digit))
}

pub(crate) fn number32(digits: &[u8]) -> u32 {
    number(digits) as u32
}

/// ISO 3166-1 alpha-2, and Kosovo as banks write it.
pub(crate) fn is_country(code: [u8; 2]) -> bool {
    const CODES: &[u8] = b"ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCG\
        CHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHM\
        HNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQ\
        MRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSM\
        SNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";
    CODES.as_chunks::<2>().0.binary_search(&code).is_ok()
}
