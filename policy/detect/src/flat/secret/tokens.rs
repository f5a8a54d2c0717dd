//! Tokens whose issuers document how they begin: prefix, alphabet, length.

use crate::class::Class;

/// What the characters behind a prefix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Letters and digits.
    Alnum,
    /// These and `_`, `-`.
    Url,
    /// These and `.`, `=`.
    Dotted,
    /// These and `/`.
    Path,
    /// Letters, digits, `+`, `/`, `=`.
    Base64,
    /// The same, percent-encoded or not.
    Percent,
    /// Pairs of names and values, percent-encoded.
    Query,
    Hex,
}

pub(super) struct Token {
    pub(super) prefix: &'static str,
    pub(super) class: Class,
    pub(super) body: Body,
    pub(super) min: usize,
    pub(super) max: usize,
}

const fn provider(prefix: &'static str, body: Body, min: usize, max: usize) -> Token {
    Token { prefix, class: Class::PROVIDER_TOKEN, body, min, max }
}

/// By prefix; a longer one before its beginning.
pub(super) static TOKENS: &[Token] = &[
    Token { prefix: "github_pat_", class: Class::GITHUB_TOKEN, body: Body::Url, min: 60, max: 90 },
    Token { prefix: "ghp_", class: Class::GITHUB_TOKEN, body: Body::Alnum, min: 36, max: 251 },
    Token { prefix: "gho_", class: Class::GITHUB_TOKEN, body: Body::Alnum, min: 36, max: 251 },
    Token { prefix: "ghu_", class: Class::GITHUB_TOKEN, body: Body::Alnum, min: 36, max: 251 },
    Token { prefix: "ghs_", class: Class::GITHUB_TOKEN, body: Body::Alnum, min: 36, max: 251 },
    Token { prefix: "ghr_", class: Class::GITHUB_TOKEN, body: Body::Alnum, min: 36, max: 251 },
    Token { prefix: "npm_", class: Class::NPM_TOKEN, body: Body::Alnum, min: 36, max: 36 },
    provider("sk_live_", Body::Alnum, 16, 120),
    provider("sk_test_", Body::Alnum, 16, 120),
    provider("rk_live_", Body::Alnum, 16, 120),
    provider("rk_test_", Body::Alnum, 16, 120),
    provider("whsec_", Body::Alnum, 24, 80),
    provider("xoxb-", Body::Url, 20, 120),
    provider("xoxp-", Body::Url, 20, 120),
    provider("xoxa-", Body::Url, 20, 120),
    provider("xoxr-", Body::Url, 20, 120),
    provider("xoxs-", Body::Url, 20, 120),
    provider("xapp-", Body::Url, 20, 160),
    provider("AIza", Body::Url, 35, 35),
    provider("GOCSPX-", Body::Url, 24, 40),
    provider("ya29.", Body::Url, 30, 2100),
    provider("glpat-", Body::Dotted, 20, 60),
    provider("gldt-", Body::Url, 20, 40),
    provider("glrt-", Body::Url, 20, 60),
    provider("glptt-", Body::Url, 40, 40),
    provider("sk-ant-", Body::Url, 30, 160),
    provider("sk-proj-", Body::Url, 30, 220),
    provider("sk-svcacct-", Body::Url, 30, 220),
    provider("sk-admin-", Body::Url, 30, 220),
    provider("sk-or-v1-", Body::Hex, 64, 64),
    provider("sk-None-", Body::Url, 30, 220),
    provider("sk-", Body::Alnum, 32, 64),
    provider("SG.", Body::Dotted, 60, 70),
    provider("hf_", Body::Alnum, 30, 40),
    provider("dop_v1_", Body::Hex, 64, 64),
    provider("doo_v1_", Body::Hex, 64, 64),
    provider("dckr_pat_", Body::Url, 20, 40),
    provider("shpat_", Body::Hex, 32, 32),
    provider("shpss_", Body::Hex, 32, 32),
    provider("shpca_", Body::Hex, 32, 32),
    provider("pypi-", Body::Url, 50, 1000),
    provider("hvs.", Body::Url, 24, 200),
    provider("hvb.", Body::Url, 24, 600),
    provider("glsa_", Body::Url, 32, 60),
    provider("glc_", Body::Dotted, 32, 300),
    provider("lin_api_", Body::Alnum, 32, 48),
    provider("figd_", Body::Url, 30, 60),
    provider("PMAK-", Body::Url, 50, 70),
    provider("sq0atp-", Body::Url, 22, 22),
    provider("sq0csp-", Body::Url, 43, 43),
    provider("EAAA", Body::Url, 60, 60),
    provider("nfp_", Body::Alnum, 36, 60),
    provider("rubygems_", Body::Hex, 48, 48),
    provider("pul-", Body::Hex, 40, 40),
    provider("sntrys_", Body::Dotted, 40, 200),
    provider("sntryu_", Body::Hex, 64, 64),
    provider("atlasv1.", Body::Url, 30, 90),
    provider("tfp_", Body::Alnum, 40, 60),
    provider("NRAK-", Body::Alnum, 27, 27),
    provider("dapi", Body::Hex, 32, 34),
    provider("r8_", Body::Alnum, 37, 37),
    provider("gsk_", Body::Alnum, 40, 60),
    provider("pplx-", Body::Alnum, 40, 60),
    provider("xai-", Body::Alnum, 60, 90),
    provider("AGE-SECRET-KEY-1", Body::Alnum, 58, 58),
    provider("sbp_", Body::Hex, 40, 40),
    provider("ATATT3", Body::Dotted, 60, 250),
    provider("ATCTT3", Body::Dotted, 60, 250),
    provider("SK", Body::Hex, 32, 32),
    provider("key-", Body::Hex, 32, 32),
    provider("pscale_tkn_", Body::Url, 32, 64),
    provider("pscale_pw_", Body::Url, 32, 64),
    provider("vercel_", Body::Alnum, 24, 48),
    provider("cfut_", Body::Url, 40, 60),
    provider("sk.eyJ", Body::Dotted, 60, 250),
    provider("glcbt-", Body::Url, 20, 60),
    provider("glimt-", Body::Url, 20, 60),
    provider("glft-", Body::Url, 20, 80),
    provider("glsoat-", Body::Url, 20, 60),
    provider("glagent-", Body::Url, 40, 80),
    provider("glffct-", Body::Url, 20, 60),
    provider("gloas-", Body::Url, 40, 80),
    provider("glrtr-", Body::Url, 20, 60),
    provider("glwt-", Body::Url, 20, 60),
    provider("xoxc-", Body::Url, 20, 200),
    provider("xoxd-", Body::Percent, 20, 400),
    provider("xoxe-", Body::Url, 20, 400),
    provider("xoxe.xox", Body::Url, 20, 400),
    provider("xoxo-", Body::Url, 20, 120),
    provider("xwfp-", Body::Url, 20, 200),
    provider("hooks.slack.com/services/", Body::Path, 40, 90),
    provider("hooks.slack.com/workflows/", Body::Path, 40, 120),
    provider("hooks.slack.com/triggers/", Body::Path, 40, 120),
    provider("discord.com/api/webhooks/", Body::Path, 70, 100),
    provider("discordapp.com/api/webhooks/", Body::Path, 70, 100),
    provider("AQ.Ab", Body::Url, 40, 80),
    provider("dor_v1_", Body::Hex, 64, 64),
    provider("shppa_", Body::Hex, 32, 32),
    provider("api_org_", Body::Alnum, 34, 34),
    provider("AccountKey=", Body::Base64, 86, 88),
    provider("SharedAccessKey=", Body::Base64, 43, 88),
    provider("SharedAccessSignature sr=", Body::Query, 60, 600),
    provider("ntn_", Body::Alnum, 40, 60),
    provider("secret_", Body::Alnum, 43, 43),
    provider("dp.pt.", Body::Alnum, 40, 44),
    provider("dp.st.", Body::Dotted, 40, 90),
    provider("dp.ct.", Body::Alnum, 40, 44),
    provider("dp.sa.", Body::Alnum, 40, 44),
    provider("dp.scim.", Body::Alnum, 40, 44),
    provider("dp.audit.", Body::Alnum, 40, 44),
    provider("fm2_", Body::Base64, 80, 4000),
    provider("fm1r_", Body::Base64, 80, 4000),
    provider("fm1a_", Body::Base64, 80, 4000),
    provider("fo1_", Body::Url, 43, 43),
    provider("amzn.mws.", Body::Url, 36, 36),
    provider("ABSK", Body::Base64, 100, 200),
    provider("EAA", Body::Alnum, 90, 400),
    provider("HRKU-", Body::Url, 36, 70),
    provider("xkeysib-", Body::Url, 81, 81),
    provider("xsmtpsib-", Body::Url, 81, 81),
    provider("SSWS 00", Body::Url, 38, 42),
    provider("v1.0-", Body::Url, 171, 171),
    provider("cfat_", Body::Url, 40, 60),
    provider("cflt", Body::Base64, 60, 60),
    provider("cio", Body::Alnum, 32, 32),
    provider("LTAI", Body::Alnum, 20, 20),
    provider("AKID", Body::Alnum, 32, 32),
    provider("AKCp", Body::Alnum, 60, 90),
    provider("CFPAT-", Body::Url, 43, 43),
    provider("CLOJARS_", Body::Hex, 60, 60),
    provider("dt0c01.", Body::Dotted, 89, 89),
    provider("dt0s01.", Body::Dotted, 70, 89),
    provider("dt0s02.", Body::Dotted, 70, 89),
    provider("dt0s16.", Body::Dotted, 70, 89),
    provider("EZAK", Body::Alnum, 54, 54),
    provider("EZTK", Body::Alnum, 54, 54),
    provider("fio-u-", Body::Url, 64, 64),
    provider("aio_", Body::Alnum, 28, 28),
    provider("lsv2_pt_", Body::Url, 43, 43),
    provider("lsv2_sk_", Body::Url, 43, 43),
    provider("sqp_", Body::Hex, 40, 40),
    provider("squ_", Body::Hex, 40, 40),
    provider("sqa_", Body::Hex, 40, 40),
    provider("oy2", Body::Alnum, 43, 43),
    provider("ATBB", Body::Alnum, 28, 36),
    provider("pat-na1-", Body::Url, 36, 36),
    provider("pat-eu1-", Body::Url, 36, 36),
    provider("tskey-", Body::Url, 24, 80),
    provider("sgp_", Body::Url, 40, 80),
    provider("bkua_", Body::Hex, 40, 40),
    provider("CCIPAT_", Body::Url, 40, 80),
    provider("CCIPRJ_", Body::Url, 40, 80),
    provider("rdme_", Body::Alnum, 70, 70),
    provider("pnu_", Body::Alnum, 36, 36),
    provider("sb_secret_", Body::Url, 24, 60),
    provider("pscale_oauth_", Body::Url, 32, 64),
    provider("napi_", Body::Alnum, 60, 80),
    provider("pcsk_", Body::Url, 50, 90),
    provider("tgp_v1_", Body::Url, 40, 60),
    provider("mdb_sa_sk_", Body::Url, 32, 60),
    provider("ops_eyJ", Body::Url, 120, 4000),
    provider("FLWSECK-", Body::Url, 32, 64),
    provider("duffel_live_", Body::Url, 43, 43),
    provider("shippo_live_", Body::Hex, 40, 40),
    provider("hvr.", Body::Url, 24, 300),
    provider("NRII-", Body::Url, 32, 32),
    provider("vcp_", Body::Alnum, 24, 60),
    provider("access-production-", Body::Url, 36, 36),
];

impl Body {
    pub(super) fn allows(self, byte: u8) -> bool {
        let is_sign = |signs: &[u8]| signs.contains(&byte);
        match self {
            Body::Hex => byte.is_ascii_hexdigit(),
            _ if byte.is_ascii_alphanumeric() => true,
            Body::Alnum => false,
            Body::Url => is_sign(b"_-"),
            Body::Dotted => is_sign(b"_-.="),
            Body::Path => is_sign(b"_-/"),
            Body::Base64 => is_sign(b"+/="),
            Body::Percent => is_sign(b"+/=%_-"),
            Body::Query => is_sign(b"+/=%_-.&"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_prefix_stands_before_its_beginning() {
        for (at, token) in TOKENS.iter().enumerate() {
            let behind = &TOKENS[at + 1..];
            let hidden = behind.iter().find(|other| other.prefix.starts_with(token.prefix));
            assert!(hidden.is_none(), "{} is hidden", hidden.map_or("", |hidden| hidden.prefix));
        }
    }
}
