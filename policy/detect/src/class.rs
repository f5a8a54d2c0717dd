//! What can be found: leaves of a tree of names, `payment.card` below `payment` (POLICY §6).

use std::fmt;

/// A class of personal data, secrets or identifiers. Ordered as in the table of POLICY §6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

macro_rules! classes {
    ($($constant:ident $name:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Number { $($constant),* }
        /// One constant per class, for code that decides about a class by itself.
        impl Class {
            $(#[doc = concat!("`", $name, "`")] pub const $constant: Class = Class(Number::$constant as u8);)*
        }
        const NAMES: &[&str] = &[$($name),*];
    };
}

classes! {
    CARD "payment.card"
    IBAN "payment.iban"
    BIC "payment.bic"
    ABA "payment.aba"
    EMAIL "contact.email"
    PHONE "contact.phone"
    CN_MOBILE "contact.phone.cn-mobile"
    ADDRESS "contact.address"
    NAME "person.name"
    BIRTH_DATE "person.birth-date"
    GEO_POINT "geo.point"
    US_SSN "gov-id.us.ssn"
    US_ITIN "gov-id.us.itin"
    CN_ID "gov-id.cn.resident-id"
    GB_NINO "gov-id.gb.nino"
    GB_NHS "gov-id.gb.nhs"
    IN_AADHAAR "gov-id.in.aadhaar"
    DE_TAX_ID "gov-id.de.tax-id"
    IT_CF "gov-id.it.codice-fiscale"
    ES_DNI "gov-id.es.dni"
    ES_NIE "gov-id.es.nie"
    FR_NIR "gov-id.fr.nir"
    BR_CPF "gov-id.br.cpf"
    BR_CNPJ "gov-id.br.cnpj"
    SG_NRIC "gov-id.sg.nric"
    KR_RRN "gov-id.kr.rrn"
    JP_MY_NUMBER "gov-id.jp.my-number"
    JP_CORPORATE "org.jp.corporate-number"
    PL_PESEL "gov-id.pl.pesel"
    NL_BSN "gov-id.nl.bsn"
    SE_PNR "gov-id.se.personnummer"
    FI_HETU "gov-id.fi.hetu"
    NO_FNR "gov-id.no.fodselsnummer"
    RO_CNP "gov-id.ro.cnp"
    CZ_RC "gov-id.cz.rc"
    TR_TCKN "gov-id.tr.tckn"
    CH_AHV "gov-id.ch.ahv"
    CA_SIN "gov-id.ca.sin"
    AU_TFN "gov-id.au.tfn"
    MX_CURP "gov-id.mx.curp"
    AR_CUIT "gov-id.ar.cuit"
    CL_RUT "gov-id.cl.rut"
    HK_ID "gov-id.hk.id"
    TW_ID "gov-id.tw.id"
    TH_ID "gov-id.th.id"
    ZA_ID "gov-id.za.id"
    MRZ "gov-id.passport-mrz"
    URL_USERINFO "secret.url-userinfo"
    JWT "secret.jwt"
    PRIVATE_KEY "secret.private-key"
    AWS_KEY "secret.aws-key"
    GITHUB_TOKEN "secret.github-token"
    NPM_TOKEN "secret.npm-token"
    PROVIDER_TOKEN "secret.provider-token"
    IP "network.ip"
    MAC "network.mac"
    BTC "crypto.btc"
    ETH "crypto.eth"
    IMEI "device.imei"
    VIN "vehicle.vin"
    LEI "org.lei"
    ISIN "security.isin"
}

impl Class {
    /// Every class, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Class> {
        (0..NAMES.len() as u8).map(Class)
    }

    /// The class of exactly this name; families are no classes.
    pub fn named(name: &str) -> Option<Class> {
        Class::all().find(|class| class.name() == name)
    }

    pub fn name(self) -> &'static str {
        NAMES[self.0 as usize]
    }

    /// Whether `family` is this class, something above it, or `*`.
    pub fn is_in(self, family: &str) -> bool {
        let rest = self.name().strip_prefix(family);
        family == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of classes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ClassSet(u64);

// INVARIANT: every class has its bit.
const _: () = assert!(NAMES.len() < u64::BITS as usize);

impl ClassSet {
    pub const EMPTY: ClassSet = ClassSet(0);
    pub const ALL: ClassSet = ClassSet((1 << NAMES.len()) - 1);

    /// The classes of a family: a class by name, everything below a name, or `*`. Empty where the name says nothing.
    pub fn of(family: &str) -> ClassSet {
        Class::all().filter(|class| class.is_in(family)).collect()
    }

    pub(crate) const fn just(class: Class) -> ClassSet {
        ClassSet(1 << class.0)
    }

    pub fn insert(&mut self, class: Class) {
        self.0 |= 1 << class.0;
    }

    pub fn remove(&mut self, class: Class) {
        self.0 &= !(1 << class.0);
    }

    #[inline]
    pub fn contains(&self, class: Class) -> bool {
        self.0 >> class.0 & 1 == 1
    }

    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    pub fn len(&self) -> usize {
        self.0.count_ones() as usize
    }

    #[must_use]
    pub const fn union(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 | other.0)
    }

    #[must_use]
    pub const fn intersection(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 & other.0)
    }

    /// What is in this set and not in `other`: how exceptions are taken out.
    #[must_use]
    pub const fn minus(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 & !other.0)
    }

    /// The classes in order.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let first = (rest != 0).then(|| Class(rest.trailing_zeros() as u8))?;
            rest &= rest - 1;
            Some(first)
        })
    }
}

impl FromIterator<Class> for ClassSet {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> ClassSet {
        let mut set = ClassSet::EMPTY;
        classes.into_iter().for_each(|class| set.insert(class));
        set
    }
}

impl fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_hold_what_is_below_them() {
        assert_eq!(ClassSet::of("*"), ClassSet::ALL);
        assert_eq!(ClassSet::ALL.len(), Class::all().len());
        assert!(ClassSet::ALL.len() >= 40);
        let phones: Vec<_> = ClassSet::of("contact.phone").iter().map(Class::name).collect();
        assert_eq!(phones, ["contact.phone", "contact.phone.cn-mobile"]);
        assert_eq!(ClassSet::of("gov-id.us").len(), 2);
        assert!(ClassSet::of("contact.pho").is_empty() && ClassSet::of("").is_empty());
        assert!(!ClassSet::of("*").minus(ClassSet::of("network")).contains(Class::IP));
        for class in Class::all() {
            assert_eq!(Class::named(class.name()), Some(class));
        }
        assert_eq!(Class::named("contact"), None);
    }
}
