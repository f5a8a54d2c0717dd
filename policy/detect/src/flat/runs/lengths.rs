//! What numbers of each length can be, by their digits and how they are grouped.

use super::Window;
use crate::checks;
use crate::class::Class;
use crate::flat::{Kind, View, WORDS_SAY, card};
use crate::keys::Hint;

impl View<'_> {
    pub(super) fn window(&mut self, window: &Window<'_>, step: i16, is_whole: bool) {
        let step = step
            + match self.bytes.get(window.end) {
                Some(b'_' | b'%') => -10,
                Some(b'-') if self.continues(window.end + 1) => -10,
                _ => 0,
            };
        if is_whole {
            self.national_phone(window, step);
        }
        let d = window.digits;
        if let Some(base) = card::strength(window) {
            self.give(Class::CARD, window, base, step);
        }
        match d.len() {
            8 => self.eight(window, step),
            9 => self.nine(window, step),
            10 => self.ten(window, step),
            11 => self.eleven(window, step),
            12 => self.twelve(window, step),
            13 => self.thirteen(window, step),
            14 if checks::br_cnpj(d) => {
                let usual = d[8..11] == [0, 0, 0];
                let bare = if is_moment(d) {
                    5
                } else if usual {
                    30
                } else {
                    16
                };
                self.shaped(Class::BR_CNPJ, window, step, window.shape(bare, &[0x23342], 45));
            }
            15 => {
                if checks::fr_nir(d) {
                    let shape = window.shape(30, &[0x1222332, 0xd2, 0x122_2332], 45);
                    self.shaped(Class::FR_NIR, window, step, shape);
                }
                if checks::luhn(d) && !checks::is_pattern(d) {
                    self.shaped(Class::IMEI, window, step, window.shape(4, &[0x2661, 0x681], 32));
                }
            }
            18 if checks::cn_resident_id(&d[..17], d[17]) => {
                self.shaped(Class::CN_ID, window, step, window.shape(45, &[0x684, 0x6444], 45));
            }
            _ => {}
        }
    }

    fn eight(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if checks::cl_rut(&d[..7], d[7]) {
            self.rut(window, step);
        }
    }

    /// With dots and a dash it is nothing else; the dash alone has a tenth of all numbers of this shape.
    fn rut(&mut self, window: &Window<'_>, step: i16) {
        let base = match window.pattern {
            0x1331 | 0x2331 => Some(40),
            0x71 | 0x81 if window.separator == b'-' => {
                let is_run = self.has_flag(Hint::RUN, window.start);
                Some(if is_run { 16 + WORDS_SAY } else { 16 })
            }
            0 => Some(0),
            _ => None,
        };
        self.shaped(Class::CL_RUT, window, step, base);
    }

    fn nine(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        let dashed = match (window.pattern, window.separator) {
            (0, _) => Some(0),
            (0x324, b'-') => Some(24),
            (0x324, _) => Some(18),
            _ => None,
        };
        if checks::us_ssn(d) {
            self.shaped(Class::US_SSN, window, step, dashed);
        }
        if checks::us_itin(d) {
            self.shaped(Class::US_ITIN, window, step, dashed);
        }
        let thirds = window.shape(2, &[0x333], if window.separator == b'-' { 22 } else { 16 });
        if checks::nl_bsn(d) {
            self.shaped(Class::NL_BSN, window, step, window.shape(3, &[0x423, 0x432, 0x333], 14));
        }
        if checks::ca_sin(d) {
            self.shaped(Class::CA_SIN, window, step, thirds.map(|base| base - if d[0] == 0 { 4 } else { 0 }));
        }
        if checks::au_tfn(d) {
            self.shaped(Class::AU_TFN, window, step, window.shape(1, &[0x333], 15));
        }
        if checks::us_aba(d) {
            self.shaped(Class::ABA, window, step, window.shape(1, &[0x441, 0x333], 6));
        }
        if checks::cl_rut(&d[..8], d[8]) {
            self.rut(window, step);
        }
    }

    fn ten(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        let moment = if window.pattern == 0 && is_epoch(d) { -10 } else { 0 };
        if checks::gb_nhs(d) {
            let grouped = if window.separator == b' ' { 22 } else { 17 };
            self.shaped(Class::GB_NHS, window, step + moment, window.shape(5, &[0x334], grouped));
        }
        if window.pattern == 0x64 && window.separator == b'-' {
            self.hetu(window.start, window.end);
        }
        if checks::se_personnummer(d) {
            let grouped = if window.separator == b'-' { 34 } else { 18 };
            self.shaped(Class::SE_PNR, window, step + moment, window.shape(12, &[0x64], grouped));
        }
        if checks::cz_rc(d) {
            let grouped = if window.separator == b'/' { 42 } else { 15 };
            self.shaped(Class::CZ_RC, window, step + moment, window.shape(11, &[0x64], grouped));
        }
    }

    fn eleven(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if checks::br_cpf(d) {
            // With a dot before the last two it is an amount.
            let shape = match (window.pattern, window.separator) {
                (0x92, b'-') => Some(45),
                // Dots only are how addresses of networks are written.
                (0x3332, b'.') if is_address(d) => Some(0),
                _ => window.shape(22, &[0x3332], 45),
            };
            self.shaped(Class::BR_CPF, window, step, shape);
        }
        if checks::de_tax_id(d) {
            self.shaped(Class::DE_TAX_ID, window, step, window.shape(23, &[0x2333], 38));
        }
        if checks::pl_pesel(d) {
            self.shaped(Class::PL_PESEL, window, step, window.shape(22, &[], 0));
        }
        if checks::tr_tckn(d) {
            self.shaped(Class::TR_TCKN, window, step, window.shape(22, &[0x3332], 22));
        }
        if checks::no_fodselsnummer(d) {
            self.shaped(Class::NO_FNR, window, step, window.shape(27, &[0x65], 42));
        }
        if checks::ar_cuit(d) {
            self.shaped(Class::AR_CUIT, window, step, window.shape(18, &[0x281], 42));
        }
        self.cn_mobile(window, step);
    }

    fn twelve(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        // Nobody writes them with dots.
        let grouped = |dashed, spaced| match window.separator {
            b'-' => dashed,
            b' ' => spaced,
            _ => 8,
        };
        if checks::in_aadhaar(d) {
            self.shaped(Class::IN_AADHAAR, window, step, window.shape(7, &[0x444], grouped(22, 24)));
        }
        if checks::jp_my_number(d) {
            self.shaped(Class::JP_MY_NUMBER, window, step, window.shape(4, &[0x444], grouped(14, 20)));
        }
        if checks::se_personnummer(d) {
            // Times and numbers of orders begin with a date too.
            let is_time = checks::number(&d[8..10]) < 24 && d[10] < 6;
            let bare = if is_time { 8 } else { 14 };
            let grouped = if window.separator == b'-' { 42 } else { 20 };
            self.shaped(Class::SE_PNR, window, step, window.shape(bare, &[0x84], grouped));
        }
    }

    fn thirteen(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        let bare_step = match (window.pattern, self.kind) {
            (0, Kind::Number) if is_epoch(d) => step - 20,
            (0, Kind::Text) if is_epoch(d) => step - 4,
            _ => step,
        };
        if checks::kr_rrn(d) {
            let plus = if checks::kr_rrn_check(d) { 8 } else { 0 };
            let shape = window.shape(3, &[0x67], if window.separator == b'-' { 24 } else { 16 });
            self.shaped(Class::KR_RRN, window, bare_step, shape.map(|base| base + plus));
        }
        if checks::ro_cnp(d) {
            self.shaped(Class::RO_CNP, window, bare_step, window.shape(25, &[], 0));
        }
        if checks::ch_ahv(d) {
            self.shaped(Class::CH_AHV, window, step, window.shape(32, &[0x3442], 45));
        }
        if checks::th_id(d) {
            self.shaped(Class::TH_ID, window, bare_step, window.shape(4, &[0x14521], 42));
        }
        if checks::za_id(d) {
            self.shaped(
                Class::ZA_ID,
                window,
                bare_step,
                window.shape(26, &[0x6421, 0x64_21, 0x643, 0x6412], 36),
            );
        }
        if checks::jp_corporate(d) {
            self.shaped(Class::JP_CORPORATE, window, bare_step, window.shape(3, &[0x1444], 14));
        }
    }
}

/// Seconds or milliseconds since 1970, of a time that events are from.
fn is_epoch(d: &[u8]) -> bool {
    let first = checks::number(&d[..4]);
    matches!(d.len(), 10 | 13) && (1400..2000).contains(&first)
}

/// Three groups of three digits and one of two that are octets.
fn is_address(d: &[u8]) -> bool {
    d.chunks(3).all(|group| checks::number(group) <= 255 && (group[0] != 0 || group.len() == 1))
}

/// Year to second, as a time is written without separators.
fn is_moment(d: &[u8]) -> bool {
    (1900..2100).contains(&checks::number(&d[..4]))
        && checks::is_date(checks::number32(&d[..4]), checks::number32(&d[4..6]), checks::number32(&d[6..8]))
        && checks::number(&d[8..10]) < 24
        && d[10] < 6
        && d[12] < 6
}
