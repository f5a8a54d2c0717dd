//! Identifiers of countries that are digits only, each with the rule its authority publishes. Every function takes
//! as many digits as such a number has; with another count it says no.

use super::{YEAR_MAX, is_date, is_short_date, luhn, mod_11_10, number, number32, verhoeff, weighted};

/// Social security numbers never issued: by area, group and serial, and the two that advertisements made known.
pub(crate) fn us_ssn(d: &[u8]) -> bool {
    let [area, group, serial] = us_parts(d);
    d.len() == 9
        && !matches!(area, 0 | 666 | 900..)
        && group != 0
        && serial != 0
        && !matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999) | (457, 55, 5462))
        && !is_uniform(d)
}

/// Individual taxpayer numbers: 9xx with the groups the IRS assigns.
pub(crate) fn us_itin(d: &[u8]) -> bool {
    let [area, group, _] = us_parts(d);
    d.len() == 9 && area >= 900 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99) && !is_pattern(d)
}

fn us_parts(d: &[u8]) -> [u32; 3] {
    if d.len() == 9 { [number32(&d[..3]), number32(&d[3..5]), number32(&d[5..])] } else { [0; 3] }
}

/// One digit only, or counting up or down: what people type as a placeholder.
pub(crate) fn is_pattern(d: &[u8]) -> bool {
    let step = |by: u8| d.windows(2).all(|pair| (pair[0] + by) % 10 == pair[1]);
    step(0) || step(1) || step(9)
}

/// One digit only.
pub(crate) fn is_uniform(d: &[u8]) -> bool {
    d.windows(2).all(|pair| pair[0] == pair[1])
}

/// GB 11643: area, birth date, sequence and a check digit by mod 11; `last` is 10 where the number ends in X.
pub(crate) fn cn_resident_id(d: &[u8], last: u8) -> bool {
    const WEIGHTS: [u8; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECK: [u8; 11] = [1, 0, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    d.len() == 17
        && matches!(number(&d[..2]), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91)
        && (1850..=YEAR_MAX).contains(&number32(&d[6..10]))
        && is_date(number32(&d[6..10]), number32(&d[10..12]), number32(&d[12..14]))
        && CHECK[(weighted(d, &WEIGHTS) % 11) as usize] == last
}

/// NHS number: mod 11 with weights 10 to 2; a remainder that would need the digit 10 is never issued.
pub(crate) fn gb_nhs(d: &[u8]) -> bool {
    let check = 11 - weighted(&d[..d.len().min(9)], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    d.len() == 10 && check % 11 == u32::from(d[9]) && check != 10 && !is_pattern(d)
}

pub(crate) fn in_aadhaar(d: &[u8]) -> bool {
    d.len() == 12 && d[0] >= 2 && verhoeff(d) && !is_pattern(d)
}

/// Identifikationsnummer: among the first ten digits exactly one stands there two or three times, the others at most
/// once.
pub(crate) fn de_tax_id(d: &[u8]) -> bool {
    if d.len() != 11 || d[0] == 0 {
        return false;
    }
    let mut counts = [0_u8; 10];
    d[..10].iter().for_each(|&digit| counts[digit as usize] += 1);
    let repeated = counts.iter().filter(|&&count| count > 1).count();
    repeated == 1 && counts.iter().all(|&count| count <= 3) && mod_11_10(d)
}

/// Numéro de sécurité sociale with its key; a Corsican department comes as 19 or 18 (2A, 2B).
pub(crate) fn fr_nir(d: &[u8]) -> bool {
    d.len() == 15
        && matches!(d[0], 1..=4 | 7 | 8)
        && matches!(number(&d[3..5]), 1..=12 | 20 | 30..=42 | 50..=99)
        && matches!(number(&d[5..7]), 1..=99)
        && 97 - number(&d[..13]) % 97 == number(&d[13..])
}

pub(crate) fn br_cpf(d: &[u8]) -> bool {
    let check = |body: &[u8]| {
        let sum: u32 = body.iter().rev().zip(2..).map(|(&digit, weight)| u32::from(digit) * weight).sum();
        sum * 10 % 11 % 10
    };
    d.len() == 11
        && !is_pattern(d)
        && check(&d[..9]) == u32::from(d[9])
        && check(&d[..10]) == u32::from(d[10])
}

/// CNPJ; `values` are digits, or for the numbers issued from July 2026 ASCII codes less 48 in the first twelve.
pub(crate) fn br_cnpj(values: &[u8]) -> bool {
    const WEIGHTS: [u8; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let check = |body: &[u8]| match weighted(body, &WEIGHTS[13 - body.len()..]) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    values.len() == 14
        && values[1..].iter().any(|value| *value != values[0])
        && values[8..12].iter().any(|value| *value != 0)
        && check(&values[..12]) == u32::from(values[12])
        && check(&values[..13]) == u32::from(values[13])
}

/// Resident registration number: the date and the digit of sex and century. Its check digit is a matter apart, see
/// [`kr_rrn_check`].
pub(crate) fn kr_rrn(d: &[u8]) -> bool {
    if d.len() != 13 {
        return false;
    }
    let century = match d[6] {
        1 | 2 | 5 | 6 => 1900,
        3 | 4 | 7 | 8 => 2000,
        9 | 0 => 1800,
        _ => return false,
    };
    let year = century + number32(&d[..2]);
    year <= YEAR_MAX && is_date(year, number32(&d[2..4]), number32(&d[4..6]))
}

/// Numbers issued since October 2020 are random behind the sex digit and need not satisfy it.
pub(crate) fn kr_rrn_check(d: &[u8]) -> bool {
    d.len() == 13 && (11 - weighted(d, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10 == u32::from(d[12])
}

pub(crate) fn jp_my_number(d: &[u8]) -> bool {
    let rest = weighted(d, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    d.len() == 12 && u32::from(d[11]) == if rest <= 1 { 0 } else { 11 - rest } && !is_pattern(d)
}

pub(crate) fn jp_corporate(d: &[u8]) -> bool {
    d.len() == 13
        && d[0] != 0
        && 9 - weighted(&d[1..], &[2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]) % 9 == u32::from(d[0])
}

/// PESEL, the century in the month.
pub(crate) fn pl_pesel(d: &[u8]) -> bool {
    if d.len() != 11 {
        return false;
    }
    let month = number32(&d[2..4]);
    let century = [1900, 2000, 2100, 2200, 1800][(month / 20 % 5) as usize];
    let year = century + number32(&d[..2]);
    (1850..=YEAR_MAX).contains(&year)
        && is_date(year, month % 20, number32(&d[4..6]))
        && (10 - weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10) % 10 == u32::from(d[10])
}

/// Burgerservicenummer: the test of eleven, the last digit taken off.
pub(crate) fn nl_bsn(d: &[u8]) -> bool {
    d.len() == 9
        && !is_pattern(d)
        && d[..2] != [0, 0]
        && weighted(d, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == u32::from(d[8])
}

/// Personnummer or samordningsnummer (day and 60), ten digits or twelve with the century.
pub(crate) fn se_personnummer(d: &[u8]) -> bool {
    let (century, short) = match d.len() {
        12 if matches!(number(&d[..2]), 18..=20) => (number32(&d[..2]) * 100, &d[2..]),
        10 => (0, d),
        _ => return false,
    };
    let (year, month, day) = (number32(&short[..2]), number32(&short[2..4]), number32(&short[4..6]));
    let day = if day > 60 { day - 60 } else { day };
    let is_day = match century {
        0 => is_short_date(year, month, day),
        century => is_date(century + year, month, day),
    };
    is_day && luhn(short)
}

/// Fødselsnummer or D-nummer (day and 40), two digits by mod 11.
pub(crate) fn no_fodselsnummer(d: &[u8]) -> bool {
    if d.len() != 11 {
        return false;
    }
    let (day, month) = (number32(&d[..2]), number32(&d[2..4]));
    let day = if day > 40 { day - 40 } else { day };
    let check = |weights: &[u8]| (11 - weighted(d, weights) % 11) % 11;
    is_short_date(number32(&d[4..6]), month, day)
        && check(&[3, 7, 6, 1, 8, 9, 4, 5, 2]) == u32::from(d[9])
        && check(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) == u32::from(d[10])
}

pub(crate) fn ro_cnp(d: &[u8]) -> bool {
    d.len() == 13
        && d[0] != 0
        && is_short_date(number32(&d[1..3]), number32(&d[3..5]), number32(&d[5..7]))
        && matches!(number(&d[7..9]), 1..=48 | 51 | 52 | 70)
        && match weighted(d, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11 {
            10 => d[12] == 1,
            rest => rest == u32::from(d[12]),
        }
}

/// Rodné číslo of ten digits: divisible by 11; women have 50 added to the month, and full days another 20.
pub(crate) fn cz_rc(d: &[u8]) -> bool {
    if d.len() != 10 {
        return false;
    }
    let month = match number32(&d[2..4]) {
        month @ 71..=82 => month - 70,
        month @ 51..=62 => month - 50,
        month @ 21..=32 => month - 20,
        month => month,
    };
    let old = number(&d[..9]) % 11 == 10 && d[9] == 0;
    is_short_date(number32(&d[..2]), month, number32(&d[4..6])) && (number(d).is_multiple_of(11) || old)
}

pub(crate) fn tr_tckn(d: &[u8]) -> bool {
    if d.len() != 11 || d[0] == 0 {
        return false;
    }
    let odd: i32 = d[..9].iter().step_by(2).map(|&digit| i32::from(digit)).sum();
    let even: i32 = d[1..8].iter().step_by(2).map(|&digit| i32::from(digit)).sum();
    let sum: i32 = d[..10].iter().map(|&digit| i32::from(digit)).sum();
    (odd * 7 - even).rem_euclid(10) == i32::from(d[9]) && sum % 10 == i32::from(d[10])
}

/// AHV number: country 756 and the check digit of EAN-13.
pub(crate) fn ch_ahv(d: &[u8]) -> bool {
    d.len() == 13
        && d[..3] == [7, 5, 6]
        && weighted(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

pub(crate) fn ca_sin(d: &[u8]) -> bool {
    d.len() == 9 && d[0] != 8 && luhn(d) && !is_pattern(d)
}

pub(crate) fn au_tfn(d: &[u8]) -> bool {
    d.len() == 9 && !is_pattern(d) && weighted(d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

pub(crate) fn ar_cuit(d: &[u8]) -> bool {
    d.len() == 11
        && matches!(number(&d[..2]), 20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34)
        && (11 - weighted(d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11 == u32::from(d[10])
}

/// RUT or RUN; `last` is 10 where it ends in K.
pub(crate) fn cl_rut(body: &[u8], last: u8) -> bool {
    let weights = (2..8).cycle();
    let sum: u32 = body.iter().rev().zip(weights).map(|(&digit, weight)| u32::from(digit) * weight).sum();
    matches!(body.len(), 7 | 8) && number(body) >= 100_000 && (11 - sum % 11) % 11 == u32::from(last) && {
        !is_pattern(body) || body.len() == 8
    }
}

pub(crate) fn th_id(d: &[u8]) -> bool {
    let sum = weighted(d, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    d.len() == 13 && matches!(d[0], 1..=8) && (11 - sum % 11) % 10 == u32::from(d[12])
}

pub(crate) fn za_id(d: &[u8]) -> bool {
    d.len() == 13
        && d[10] <= 2
        && is_short_date(number32(&d[..2]), number32(&d[2..4]), number32(&d[4..6]))
        && luhn(d)
}

/// ABA routing number: weights 3 7 1 and the prefixes in use.
pub(crate) fn us_aba(d: &[u8]) -> bool {
    d.len() == 9
        && matches!(number(&d[..2]), 1..=12 | 21..=32 | 61..=72 | 80)
        && weighted(d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}
